// A page fetched by Chromium as a person would: node chromium.mjs URL PROFILE-DIR [PICTURE.png]
// Credentials for NTLM come from the environment (IWA_USER, IWA_PASSWORD); without them only what the desktop has counts.
// IWA_SITES names the sites that get the desktop's ticket; localhost otherwise.
// IWA_FORM_USER and IWA_FORM_PASSWORD are typed into the form of the page, which is then sent. A picture is of the page before.
// IWA_WAIT_FOR is a text that the page gets after a while.
// IWA_FETCH: how often the page is then loaded at once by a script of its own.
// Prints one line of JSON: {"status": 200, "fetched": "200 200", "text": "..."}.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
const { chromium } = createRequire(process.env.IWA_NODE_MODULES + '/')('playwright-core');

const [url, profile, picture] = process.argv.slice(2);
mkdirSync(profile, { recursive: true });
// A fresh profile refuses Negotiate until the browser has once seen the header; say that it has.
writeFileSync(`${profile}/Local State`, JSON.stringify({ net: { received_http_auth_negotiate_headers: true } }));
const { IWA_USER: username, IWA_PASSWORD: password } = process.env;
// A persistent context: an incognito one would not use the desktop's credentials.
const context = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  // The test's certificate is its own.
  ignoreHTTPSErrors: url.startsWith('https:'),
  env: process.env,
  ...(username ? { httpCredentials: { username, password } } : {}),
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', ...(username ? [] : [`--auth-server-allowlist=${process.env.IWA_SITES ?? 'localhost'}`])],
});
try {
  const page = await context.newPage();
  let answer = await page.goto(url, { timeout: 30_000 });
  const { IWA_FORM_USER: typed, IWA_FORM_PASSWORD: secret } = process.env;
  if (typed) {
    if (picture) await page.screenshot({ path: picture });
    await page.getByLabel('Name').fill(typed);
    await page.getByLabel('Password').fill(secret);
    [answer] = await Promise.all([page.waitForNavigation(), page.getByRole('button').click()]);
  }
  const { IWA_WAIT_FOR: wanted } = process.env;
  if (wanted) await page.waitForFunction(text => document.body.innerText.includes(text), wanted, { timeout: 20_000 });
  if (picture && !typed) await page.screenshot({ path: picture });
  // As a page that loads many things does: over several connections at once.
  const fetched = await page.evaluate(async count => (await Promise.all([...Array(count)].map((_, n) =>
    fetch(`?${n}`, { cache: 'no-store' })))).map(answer => answer.status).join(' '), Number(process.env.IWA_FETCH ?? 0));
  console.log(JSON.stringify({ status: answer.status(), fetched, text: await page.innerText('body') }));
} finally {
  await context.close();
}
