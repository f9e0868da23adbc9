//! The real peers that the interoperability tests need: found, or installed where that is allowed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::Report;

/// Debian packages, each with a file that shows it is there.
const PACKAGES: &[(&str, &str)] = &[
    ("curl", "/usr/bin/curl"),
    ("krb5-user", "/usr/bin/kinit"),
    ("krb5-kdc", "/usr/sbin/krb5kdc"),
    ("krb5-admin-server", "/usr/sbin/kadmin.local"),
    ("libkrb5-dev", "/usr/bin/krb5-config"),
    ("slapd", "/usr/sbin/slapd"),
    ("ldap-utils", "/usr/bin/ldapsearch"),
    ("gcc", "/usr/bin/gcc"),
    ("apache2", "/usr/sbin/apache2"),
    ("libapache2-mod-auth-gssapi", "/usr/lib/apache2/modules/mod_auth_gssapi.so"),
    ("gss-ntlmssp", "/usr/lib/x86_64-linux-gnu/gssntlmssp/gssntlmssp.so"),
    ("nginx-light", "/usr/sbin/nginx"),
    ("caddy", "/usr/bin/caddy"),
    ("haproxy", "/usr/sbin/haproxy"),
    ("chromium", "/usr/bin/chromium"),
    ("firefox-esr", "/usr/bin/firefox-esr"),
    ("default-jdk-headless", "/usr/bin/javac"),
    ("python3-gssapi", "/usr/lib/python3/dist-packages/gssapi/__init__.py"),
    ("python3-dev", "/usr/include/python3.11/Python.h"),
    ("python3-jwt", "/usr/lib/python3/dist-packages/jwt/__init__.py"),
    ("python3-venv", "/usr/lib/python3.11/ensurepip/__init__.py"),
    ("npm", "/usr/bin/npm"),
    // The Active Directory of interop/ad.
    ("samba", "/usr/sbin/samba"),
    ("samba-ad-provision", "/usr/share/samba/setup/provision.ldif"),
    ("samba-dsdb-modules", "/usr/lib/x86_64-linux-gnu/samba/ldb/samldb.so"),
    ("samba-vfs-modules", "/usr/lib/x86_64-linux-gnu/samba/vfs/acl_xattr.so"),
    ("winbind", "/usr/sbin/winbindd"),
    ("python3-samba", "/usr/lib/python3/dist-packages/samba/__init__.py"),
    ("ldap-utils", "/usr/bin/ldapsearch"),
    ("libsasl2-modules-gssapi-mit", "/usr/lib/x86_64-linux-gnu/sasl2/libgssapiv2.so"),
    ("bind9-dnsutils", "/usr/bin/dig"),
    ("iproute2", "/usr/sbin/ip"),
    ("faketime", "/usr/bin/faketime"),
    ("systemd", "/usr/bin/systemd-analyze"),
];

/// Heimdal's client collides with MIT's as a package, so its files are unpacked beside it.
const HEIMDAL: &[&str] = &[
    "heimdal-clients",
    "libasn1-8-heimdal",
    "libedit2",
    "libgssapi3-heimdal",
    "libhcrypto5-heimdal",
    "libhdb9-heimdal",
    "libheimbase1-heimdal",
    "libheimntlm0-heimdal",
    "libhx509-5-heimdal",
    "libkadm5clnt7-heimdal",
    "libkadm5srv8-heimdal",
    "libkafs0-heimdal",
    "libkrb5-26-heimdal",
    "libotp0-heimdal",
    "libroken19-heimdal",
    "libsl0-heimdal",
    "libwind0-heimdal",
];

/// Makes the peers ready and returns the environment that tells the tests where they are. What cannot be had is not an
/// error here: the test that needs it says that it was left out.
pub(crate) fn prepare(install: bool, report: &mut Report) -> Vec<(String, String)> {
    let root = workspace();
    let home = root.join("target/interop");
    let _ = std::fs::create_dir_all(&home);
    let mut environment = vec![("IWA_INTEROP".to_owned(), home.display().to_string())];
    let corpus = root.join("../shared/corpus");
    if std::env::var_os("IWA_CORPUS").is_none() && corpus.is_dir() {
        environment.push(("IWA_CORPUS".to_owned(), corpus.display().to_string()));
    }
    if !install {
        return environment;
    }
    debian(report);
    heimdal(&home, report);
    python(&root, &home, report);
    node(&root, &home, report);
    deny(report);
    environment
}

fn debian(report: &mut Report) {
    // Node and a JDK may be there without being Debian's.
    let elsewhere = |package: &str| match package {
        "npm" => has("npm"),
        "default-jdk-headless" => has("javac"),
        _ => false,
    };
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(package, file)| !Path::new(file).exists() && !elsewhere(package))
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return;
    }
    if !has("apt-get") {
        return report.left_out("peers", "no apt-get: install the peers by hand (CONTRIBUTING.md lists them)");
    }
    if !is_root() {
        return report.left_out("peers", &format!("not root: apt-get install {}", missing.join(" ")));
    }
    report.run("package lists", quiet(Command::new("apt-get").args(["-o", "DPkg::Lock::Timeout=300", "update"])));
    let mut command = Command::new("apt-get");
    // RUNLEVEL=1 keeps the packages' services from starting.
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1")
        .args(["-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends"])
        .args(&missing);
    report.run("packages", quiet(&mut command));
}

fn heimdal(home: &Path, report: &mut Report) {
    let root = home.join("heimdal");
    if root.join("usr/bin/kgetcred").exists() || !has("apt-get") {
        return;
    }
    let _ = std::fs::create_dir_all(&root);
    let script = "apt-get download \"$@\" && for deb in *.deb; do dpkg -x \"$deb\" . && rm \"$deb\"; done";
    let mut command = Command::new("sh");
    command.current_dir(&root).args(["-ec", script, "sh"]).args(HEIMDAL);
    report.run("Heimdal", quiet(&mut command));
}

fn python(root: &Path, home: &Path, report: &mut Report) {
    let venv = home.join("venv");
    let pip = venv.join("bin/pip");
    let wanted = root.join("interop/python/requirements.txt");
    // What is ready is what was wanted when it was made.
    let list = std::fs::read_to_string(&wanted).unwrap_or_default();
    if std::fs::read_to_string(venv.join("ready")).is_ok_and(|ready| ready == list) || !has("python3") {
        return;
    }
    if !pip.exists() {
        report.run("Python environment", Command::new("python3").args(["-m", "venv"]).arg(&venv));
    }
    let mut command = Command::new(pip);
    command.args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(wanted);
    if report.run("Python peers", &mut command) {
        let _ = std::fs::write(venv.join("ready"), list);
    }
}

fn node(root: &Path, home: &Path, report: &mut Report) {
    let folder = home.join("browser");
    if folder.join("node_modules/playwright-core").exists() || !has("npm") {
        return;
    }
    let _ = std::fs::create_dir_all(&folder);
    for file in ["package.json", "package-lock.json"] {
        let _ = std::fs::copy(root.join("interop/browser").join(file), folder.join(file));
    }
    let mut command = Command::new("npm");
    command.current_dir(&folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    report.run("browser drivers", quiet(&mut command));
}

fn deny(report: &mut Report) {
    if !has("cargo-deny") {
        let mut command = Command::new(env!("CARGO"));
        command.args(["install", "--quiet", "--locked", "cargo-deny", "--version", "0.20.2"]);
        report.run("cargo-deny", &mut command);
    }
}

/// Whether a program is on the path.
pub(crate) fn has(program: &str) -> bool {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let own = cargo_home.map(|home| home.join("bin").join(program));
    own.is_some_and(|file| file.exists())
        || std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null())
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
