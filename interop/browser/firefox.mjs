// A page fetched by Firefox as a person would: node firefox.mjs URL PROFILE-DIR [PICTURE.png]
// Credentials for NTLM come from the environment (IWA_USER, IWA_PASSWORD); without them only what the desktop has counts.
// IWA_SITES names the sites that get the desktop's ticket; localhost otherwise.
// IWA_WAIT_FOR is a text that the page gets after a while.
// IWA_FETCH: how often the page is then loaded at once by a script of its own.
// Prints one line of JSON: {"status": 200, "fetched": "200 200", "text": "..."}.
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
const puppeteer = createRequire(process.env.IWA_NODE_MODULES + '/')('puppeteer-core');

const [url, profile, picture] = process.argv.slice(2);
mkdirSync(profile, { recursive: true });
const { IWA_USER: username, IWA_PASSWORD: password } = process.env;
const browser = await puppeteer.launch({
  browser: 'firefox',
  executablePath: '/usr/bin/firefox-esr',
  headless: true,
  // The test's certificate is its own.
  acceptInsecureCerts: url.startsWith('https:'),
  env: { ...process.env, HOME: profile },
  extraPrefsFirefox: {
    'network.negotiate-auth.trusted-uris': username ? '' : process.env.IWA_SITES ?? 'localhost',
    'network.negotiate-auth.allow-non-fqdn': true,
    'network.auth.force-generic-ntlm': true,
    'app.update.enabled': false,
    'datareporting.policy.dataSubmissionEnabled': false,
  },
});
try {
  const page = await browser.newPage();
  if (username) await page.authenticate({ username, password });
  const answer = await page.goto(url, { timeout: 40_000 });
  const { IWA_WAIT_FOR: wanted } = process.env;
  if (wanted) await page.waitForFunction(text => document.body.innerText.includes(text), { timeout: 20_000 }, wanted);
  if (picture) await page.screenshot({ path: picture });
  // As a page that loads many things does: over several connections at once.
  const fetched = await page.evaluate(async count => (await Promise.all([...Array(count)].map((_, n) =>
    fetch(`?${n}`, { cache: 'no-store' })))).map(answer => answer.status).join(' '), Number(process.env.IWA_FETCH ?? 0));
  console.log(JSON.stringify({ status: answer.status(), fetched, text: await page.$eval('body', body => body.innerText) }));
} finally {
  await browser.close();
}
