//! The files of the logs: their names, when a new one begins, buffering. IIS `<logFile period truncateSize>`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use iwa_auth::UnixTime;

use super::field::Field;
use super::{Lines, Period, Pressure, json, w3c};
use crate::config::Log;

/// Writes both logs. Lives in a thread of its own.
pub(super) struct Writer {
    dir: PathBuf,
    period: Period,
    truncate_size: u64,
    w3c: Option<Rolling>,
    json: Option<Rolling>,
    /// The JSON lines for standard output, where the configuration wants them.
    console: Option<Vec<u8>>,
}

/// A log of which a new file begins now and then.
struct Rolling {
    kind: Kind,
    /// Which period the open file is for.
    stem: String,
    path: PathBuf,
    file: Option<File>,
    length: u64,
    /// Whole lines that are not yet written.
    buffer: Vec<u8>,
    /// When writing last failed, so that a full disk is told of once a minute and not once a line.
    failed: Option<Instant>,
}

enum Kind {
    W3c(Vec<Field>),
    Json,
}

impl Writer {
    pub(super) fn open(log: &Log, dir: Option<PathBuf>) -> io::Result<Self> {
        let files = dir.is_some();
        let dir = dir.unwrap_or_default();
        if files {
            std::fs::create_dir_all(&dir)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display())))?;
        }
        let mut writer = Self {
            dir,
            period: log.period,
            truncate_size: log.truncate_size,
            w3c: (files && log.w3c).then(|| Rolling::new(Kind::W3c(log.fields.clone()))),
            json: (files && log.json).then(|| Rolling::new(Kind::Json)),
            console: log.console.then(Vec::new),
        };
        // Opened now, so that a directory that cannot be written to is told of when the server starts.
        let now = now();
        for rolling in [&mut writer.w3c, &mut writer.json].into_iter().flatten() {
            rolling.roll(&writer.dir, writer.period, writer.truncate_size, now, 0)?;
        }
        writer.flush();
        Ok(writer)
    }

    /// Writes until nobody is left who could send lines.
    pub(super) fn run(mut self, lines: &Receiver<Lines>, pressure: &Pressure, flush: Duration) {
        let mut oldest: Option<Instant> = None;
        let mut rested = true;
        loop {
            let wait = oldest.map_or(IDLE, |oldest| flush.saturating_sub(oldest.elapsed()));
            let next = match lines.try_recv() {
                // Whoever waits at the queue has to be woken for every line, which costs a request more than the line. Under
                // load nobody waits.
                Err(TryRecvError::Empty) if !rested => {
                    std::thread::sleep(REST.min(wait));
                    rested = true;
                    continue;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => lines.recv_timeout(wait),
                Ok(message) => {
                    rested = false;
                    Ok(message)
                }
            };
            match next {
                Ok(Lines { at, text, split }) => {
                    pressure.queued.fetch_sub(text.len(), Ordering::Relaxed);
                    let (w3c, json) = text.split_at_checked(split).unwrap_or_default();
                    self.append(at, w3c, json);
                    oldest.get_or_insert_with(Instant::now);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.tell_loss(pressure);
                    self.flush();
                    oldest = None;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.tell_loss(pressure);
                    return self.flush();
                }
            }
            let console_is_full = self.console.as_ref().is_some_and(|console| console.len() >= BUFFER);
            let full = |rolling: &Option<Rolling>| rolling.as_ref().is_some_and(|log| log.buffer.len() >= BUFFER);
            if full(&self.w3c)
                || full(&self.json)
                || console_is_full
                || oldest.is_some_and(|oldest| oldest.elapsed() >= flush)
            {
                self.tell_loss(pressure);
                self.flush();
                oldest = None;
            }
        }
    }

    fn append(&mut self, at: UnixTime, w3c: &[u8], json: &[u8]) {
        if let Some(console) = &mut self.console {
            console.extend_from_slice(json);
        }
        for (rolling, line) in [(&mut self.w3c, w3c), (&mut self.json, json)] {
            let Some(rolling) = rolling else { continue };
            if let Err(error) = rolling.roll(&self.dir, self.period, self.truncate_size, at, line.len()) {
                rolling.tell(&error);
            }
            rolling.buffer.extend_from_slice(line);
        }
    }

    fn tell_loss(&mut self, pressure: &Pressure) {
        let lost = pressure.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        tracing::warn!(lost, "requests came faster than the disk takes their log lines");
        if let Some(log) = &mut self.w3c {
            let _ =
                writeln!(log.buffer, "#Remark: {lost} lines were lost: requests came faster than the disk takes them");
        }
        if let Some(log) = &mut self.json {
            json::write_loss(now(), lost, &mut log.buffer);
        }
        if let Some(console) = &mut self.console {
            json::write_loss(now(), lost, console);
        }
    }

    fn flush(&mut self) {
        for rolling in [&mut self.w3c, &mut self.json].into_iter().flatten() {
            rolling.flush();
        }
        if let Some(console) = self.console.as_mut().filter(|console| !console.is_empty()) {
            // Nobody who reads it can be told that nobody reads it.
            let _ = io::stdout().lock().write_all(console).and_then(|()| io::stdout().flush());
            console.clear();
        }
    }
}

impl Rolling {
    fn new(kind: Kind) -> Self {
        let buffer = Vec::with_capacity(BUFFER + 4096);
        Self { kind, stem: String::new(), path: PathBuf::new(), file: None, length: 0, buffer, failed: None }
    }

    /// Sees to it that the open file is the one for a line of so many bytes at this time.
    fn roll(&mut self, dir: &Path, period: Period, most: u64, at: UnixTime, bytes: usize) -> io::Result<()> {
        let full = period == Period::MaxSize
            && self.length.saturating_add(self.buffer.len() as u64).saturating_add(bytes as u64) > most;
        let stem = stem(period, at);
        // Requests are recorded when they end: one that began before midnight may come after one that began later. It goes
        // where the log is, not back.
        if self.file.is_some() && stem <= self.stem && !full {
            return Ok(());
        }
        self.flush();
        let path = match period {
            Period::MaxSize => self.first_with_room(dir, most),
            Period::Hourly | Period::Daily => dir.join(self.kind.name(&stem)),
        };
        self.stem = stem;
        self.path = path;
        self.open()
    }

    /// Opens the file at `path`, and begins it.
    fn open(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        self.file = None;
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        let file = options.open(&self.path).map_err(named)?;
        self.length = file.metadata().map_err(named)?.len();
        self.file = Some(file);
        if let Kind::W3c(fields) = &self.kind {
            let mut head = Vec::new();
            w3c::write_head(fields, now(), &mut head);
            self.buffer.splice(0..0, head);
        }
        Ok(())
    }

    /// `u_extend1.log`, `u_extend2.log` ...: the last one that is there, if it has room.
    fn first_with_room(&self, dir: &Path, most: u64) -> PathBuf {
        let path = |number: u32| dir.join(self.kind.numbered(number));
        let length = |number| std::fs::metadata(path(number)).map(|found| found.len()).ok();
        let next = (1..u32::MAX).find(|&number| length(number).is_none()).unwrap_or(u32::MAX);
        match next
            .checked_sub(1)
            .filter(|&last| length(last).is_some_and(|length| length < most) && path(last) != self.path)
        {
            Some(last) => path(last),
            None => path(next),
        }
    }

    /// Writes what is buffered: whole lines in one call, at the end of the file wherever that is now.
    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        // Somebody moved the file away (logrotate): the lines belong into a new one of the old name.
        if self.file.is_some()
            && !self.path.exists()
            && let Err(error) = self.open()
        {
            self.tell(&error);
        }
        if self.file.is_none() && self.path.as_os_str().is_empty() {
            return;
        }
        let result = match &mut self.file {
            Some(file) => file.write_all(&self.buffer),
            None => self.open().and_then(|()| match &mut self.file {
                Some(file) => file.write_all(&self.buffer),
                None => Ok(()),
            }),
        };
        match result {
            Ok(()) => self.length = self.length.saturating_add(self.buffer.len() as u64),
            // What could not be written is gone: keeping it would fill the memory as well.
            Err(error) => self.tell(&error),
        }
        self.buffer.clear();
    }

    fn tell(&mut self, error: &io::Error) {
        if self.failed.is_none_or(|failed| failed.elapsed() >= Duration::from_secs(60)) {
            tracing::error!(%error, file = %self.path.display(), "the log cannot be written; lines are lost");
            self.failed = Some(Instant::now());
        }
    }
}

impl Kind {
    /// The file's name: `u_ex` as IIS names UTF-8 logs in this format.
    fn name(&self, stem: &str) -> String {
        match self {
            Self::W3c(_) => format!("u_ex{stem}.log"),
            Self::Json => format!("iwa_{stem}.jsonl"),
        }
    }

    /// The name of a file that begins when the one before it is full.
    fn numbered(&self, number: u32) -> String {
        match self {
            Self::W3c(_) => format!("u_extend{number}.log"),
            Self::Json => format!("iwa_{number}.jsonl"),
        }
    }
}

/// `261123` for a day, `26112314` for an hour.
fn stem(period: Period, at: UnixTime) -> String {
    let time = at.to_string();
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    let end = match period {
        Period::Daily => 8,
        Period::Hourly => 10,
        Period::MaxSize => return String::new(),
    };
    digits.get(2..end).unwrap_or_default().to_owned()
}

fn now() -> UnixTime {
    iwa_http::System::now(&iwa_http::Os)
}

/// IIS writes when so many bytes are there.
const BUFFER: usize = 64 << 10;
/// How long the thread sleeps when there is nothing to write.
const IDLE: Duration = Duration::from_secs(3600);

/// How long lines may gather once the queue was found empty. It holds thousands.
const REST: Duration = Duration::from_millis(10);
