//! The logs: one line a request as IIS writes it, and one in JSON that says in words why.
//!
//! A request's task makes both lines and hands them over; one thread writes them. The request never waits for a disk: when
//! the thread cannot keep up, lines are lost, counted, and the loss is written into the logs.

mod field;
mod json;
mod w3c;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use field::Field;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use iwa_auth::UnixTime;

use super::exchange::{Audit, Exchange, TraceOnly};
use crate::config::Log;

/// When a new log file begins: `period` of IIS's `<logFile>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Period {
    /// Every hour, UTC.
    Hourly,
    /// Every day, UTC.
    Daily,
    /// Only when it is full.
    MaxSize,
}

/// One request as the logs have it: the W3C line, as text.
pub(crate) fn w3c_line(exchange: &Exchange<'_>, fields: &[Field]) -> String {
    let mut line = Vec::new();
    w3c::write(exchange, fields, Log::default().max_line, &mut line);
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

/// The files of both logs, and the console.
pub(crate) struct Logs {
    w3c: Option<(Vec<Field>, usize)>,
    json: bool,
    queue: Option<SyncSender<Lines>>,
    pressure: Arc<Pressure>,
    thread: Option<JoinHandle<()>>,
}

/// What the request's side and the writing side know of each other.
#[derive(Debug, Default)]
struct Pressure {
    /// Bytes handed over and not yet taken.
    queued: AtomicUsize,
    /// Requests without lines since the last loss was written down.
    lost: AtomicU64,
}

/// The lines of one request.
struct Lines {
    at: UnixTime,
    /// The W3C line, then the JSON line.
    text: Vec<u8>,
    /// Where the JSON line begins.
    split: usize,
}

/// What a configuration wants told, to files or to `tracing`.
///
/// # Errors
/// The directory or a file cannot be made.
pub(crate) fn start(log: &Log) -> io::Result<Arc<dyn Audit>> {
    let files = log.dir.clone().filter(|_| log.w3c || log.json);
    if files.is_none() && !log.console {
        return Ok(Arc::new(TraceOnly));
    }
    Ok(Arc::new(Logs::start(log, files)?))
}

impl Logs {
    /// Opens the logs: files in a directory, which is made if it is not there, and the console if the configuration says so.
    ///
    /// # Errors
    /// The directory or a file cannot be made.
    pub(crate) fn start(log: &Log, dir: Option<PathBuf>) -> io::Result<Self> {
        let files = dir.is_some();
        let (queue, lines) = sync_channel(MOST_QUEUED);
        let pressure = Arc::new(Pressure::default());
        let writer = writer::Writer::open(log, dir)?;
        let flush = log.flush.max(Duration::from_millis(10));
        let seen = Arc::clone(&pressure);
        let thread =
            std::thread::Builder::new().name("logs".to_owned()).spawn(move || writer.run(&lines, &seen, flush))?;
        Ok(Self {
            w3c: (files && log.w3c).then(|| (log.fields.clone(), log.max_line)),
            json: (files && log.json) || log.console,
            queue: Some(queue),
            pressure,
            thread: Some(thread),
        })
    }

    fn hand_over(&self, lines: Lines) {
        let bytes = lines.text.len();
        let Some(queue) = &self.queue else { return };
        let queued = self.pressure.queued.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let taken = queued <= MOST_BYTES
            && match queue.try_send(lines) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
            };
        if !taken {
            self.pressure.queued.fetch_sub(bytes, Ordering::Relaxed);
            self.pressure.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Audit for Logs {
    fn record(&self, exchange: &Exchange<'_>) {
        let mut text = Vec::with_capacity(USUAL_LINES);
        if let Some((fields, max_line)) = &self.w3c {
            w3c::write(exchange, fields, *max_line, &mut text);
        }
        let split = text.len();
        if self.json {
            json::write(exchange, &mut text);
        }
        self.hand_over(Lines { at: exchange.begun, text, split });
    }
}

impl Drop for Logs {
    /// Ends the thread after it wrote everything that it was given.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the logs' thread panicked; lines may be missing");
        }
    }
}

/// How many requests may wait to be written, and how many bytes of lines.
const MOST_QUEUED: usize = 8192;
const MOST_BYTES: usize = 16 << 20;
/// Bytes of the two lines of a usual request.
const USUAL_LINES: usize = 768;
