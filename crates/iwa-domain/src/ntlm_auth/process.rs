//! A child process that lives no longer than its handle, spoken to over a socket pair instead of pipes (as Squid speaks to its
//! helpers), so that reading and writing wait in the runtime and not in a thread.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iwa_wire::explain::printable;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// A running program. Dropping it ends the program.
#[derive(Debug)]
pub(super) struct Process {
    child: Option<Child>,
    /// Its standard input and output in one.
    pub(super) stream: UnixStream,
    said: Arc<Mutex<Vec<u8>>>,
    draining: JoinHandle<()>,
}

impl Process {
    /// Starts a program. The arguments can be read by everybody on the machine: nothing secret belongs there.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(program: &Path, arguments: &[&str]) -> io::Result<Self> {
        let (ours, theirs) = Socket::pair()?;
        let (errors, their_errors) = Socket::pair()?;
        ours.set_nonblocking(true)?;
        errors.set_nonblocking(true)?;
        let (stream, mut errors) = (UnixStream::from_std(ours)?, UnixStream::from_std(errors)?);
        // The command is dropped in this statement, and with it our copies of the other ends: or we would never read an end.
        let child = Command::new(program)
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::from(OwnedFd::from(their_errors)))
            .spawn()?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let latest = Arc::clone(&said);
        // A program whose complaints nobody reads stops when the socket is full.
        let draining = tokio::spawn(async move {
            let mut chunk = [0; 1024];
            while let Ok(length @ 1..) = errors.read(&mut chunk).await {
                let mut said = latest.lock().unwrap_or_else(PoisonError::into_inner);
                said.extend_from_slice(chunk.get(..length).unwrap_or_default());
                let surplus = said.len().saturating_sub(KEPT);
                said.drain(..surplus);
            }
        });
        Ok(Self { child: Some(child), stream, said, draining })
    }

    /// Whether it still runs.
    pub(super) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How it ended. Whoever asks has a timeout around it.
    ///
    /// # Errors
    /// The operating system does not say.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        loop {
            let Some(child) = self.child.as_mut() else { return Err(io::ErrorKind::NotFound.into()) };
            match child.try_wait()? {
                Some(status) => break Ok(status),
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// What it wrote last to its standard error, in one line and fit to print. Asked of a program that has ended.
    pub(super) async fn complaint(&mut self) -> String {
        if !self.draining.is_finished() {
            let _ = tokio::time::timeout(Duration::from_millis(50), &mut self.draining).await;
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        let lines: Vec<_> = text.lines().map(|line| printable(line.trim())).collect();
        lines.join("; ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.draining.abort();
        let Some(mut child) = self.child.take() else { return };
        let _ = child.kill();
        // Killed processes end within microseconds; one that the kernel holds must not hold us.
        if !matches!(child.try_wait(), Ok(Some(_))) {
            std::thread::spawn(move || child.wait());
        }
    }
}

/// How much of what it complains about is kept, in bytes.
const KEPT: usize = 512;
