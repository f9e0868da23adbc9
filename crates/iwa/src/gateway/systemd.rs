//! Sockets that systemd opened, and what it is told: `sd_listen_fds(3)`, `sd_notify(3)`. Without systemd nothing here does anything.

use std::net::{SocketAddr, TcpListener};

use super::assemble::Problem;

/// Listening sockets that were handed over and are not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Given(Vec<TcpListener>);

/// Those of this process: `LISTEN_FDS`, where `LISTEN_PID` is ours.
///
/// # Errors
/// One of them is no listening TCP socket.
pub(crate) fn sockets() -> Result<Given, Problem> {
    let mut fds = listenfd::ListenFd::from_env();
    let mut given = Vec::new();
    for number in 0..fds.len() {
        match fds.take_tcp_listener(number) {
            Ok(Some(socket)) => given.push(socket),
            Ok(None) => {}
            Err(error) => {
                return Err(Problem(format!(
                    "socket {number} that systemd hands over cannot be used: {error}; wanted ListenStream= with an address and a port"
                )));
            }
        }
    }
    Ok(Given(given))
}

impl Given {
    /// The one that listens at this address.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.0.iter().position(|socket| socket.local_addr().is_ok_and(|found| found == address))?;
        Some(self.0.swap_remove(at))
    }

    /// A socket that nobody serves would take connections that nobody answers.
    pub(super) fn nothing_left(&self) -> Result<(), Problem> {
        let left: Vec<_> =
            self.0.iter().filter_map(|socket| socket.local_addr().ok()).map(|at| at.to_string()).collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(Problem(format!(
            "systemd hands over {}, which `listen` does not have: both must name the same address and port",
            left.join(", ")
        )))
    }
}

/// Tells the service manager (`NOTIFY_SOCKET`) how it is: `READY=1`, `STOPPING=1`, `STATUS=...`.
pub(crate) fn tell(state: &str) {
    #[cfg(unix)]
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(&path, state)
    {
        tracing::warn!(%error, "the service manager cannot be told: {state}");
    }
    #[cfg(not(unix))]
    let _ = state;
}

#[cfg(unix)]
fn send(path: &std::ffi::OsStr, state: &str) -> std::io::Result<()> {
    use std::os::unix::net::UnixDatagram;
    let socket = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::unix::ffi::OsStrExt::as_bytes(path).strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return socket.send_to_addr(state.as_bytes(), &address).map(drop);
    }
    socket.send_to(state.as_bytes(), path).map(drop)
}
