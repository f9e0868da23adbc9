//! Searches, in pages. RFC 4511 4.5, RFC 2696.

use std::time::Duration;

use iwa_wire::krb5::SequenceOf;
use iwa_wire::ldap::control::{PAGED_RESULTS, PagedResults};
use iwa_wire::ldap::{Control, Filter, Message, Octets, Op, ResultCode, Scope, SearchRequest};
use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, malformed, no_answer, succeeded, unexpected};
use super::entry::Entry;
use super::error::{LdapError, Why};

/// What is searched for.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// Where: a distinguished name; on Active Directory also `<SID=S-1-5-...>`.
    pub base: &'a str,
    /// How far below it.
    pub scope: Scope,
    /// Which entries.
    pub filter: Filter,
    /// Which of their attributes; none: all that are not operational.
    pub attributes: &'a [&'a str],
    /// How many entries are taken. One more is an error.
    pub most: usize,
    /// How long it may take as a whole.
    pub within: Duration,
}

impl<'a> Search<'a> {
    /// The entry at `base` itself.
    #[must_use]
    pub fn entry(base: &'a str, attributes: &'a [&'a str]) -> Self {
        Self { scope: Scope::Base, most: 1, ..Self::below(base, Filter::any_entry(), attributes) }
    }

    /// `base` and everything below it: at most 1,000 entries, in 30 seconds.
    #[must_use]
    pub const fn below(base: &'a str, filter: Filter, attributes: &'a [&'a str]) -> Self {
        Self { base, scope: Scope::Subtree, filter, attributes, most: 1000, within: Duration::from_secs(30) }
    }

    fn doing(&self) -> String {
        let base = if self.base.is_empty() { "the root" } else { self.base };
        let mut filter = self.filter.to_string();
        if filter.len() > 200 {
            filter = format!("{}...", filter.chars().take(200).collect::<String>());
        }
        match self.scope {
            Scope::Base => format!("reading {base}"),
            Scope::One | Scope::Subtree => format!("searching {filter} below {base}"),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where the server says there may be more. Nobody goes there.
    pub referrals: Vec<String>,
}

impl Found {
    /// The only entry; `None` if there is not exactly one.
    #[must_use]
    pub fn one(self) -> Option<Entry> {
        let mut entries = self.entries.into_iter();
        entries.next().filter(|_| entries.next().is_none())
    }
}

/// How many entries a page has.
const PAGE: u32 = 500;
/// The most that the entries of one search may have, in bytes.
const BYTES_LIMIT: usize = 64 << 20;
/// How many referrals are kept.
const REFERRALS_LIMIT: usize = 64;

impl Connection {
    /// Searches. What stands outside (`noSuchObject`) is an error; that nothing fits is none.
    ///
    /// # Errors
    /// [`LdapError`]. [`Why::Limit`] if there are more entries than [`Search::most`].
    pub async fn search(&mut self, search: &Search<'_>) -> Result<Found, LdapError> {
        let until = Instant::now() + search.within;
        let work = async {
            let mut found = Found::default();
            let (mut cookie, mut bytes) = (Vec::new(), 0);
            loop {
                cookie = self.page(search, &cookie, until, &mut bytes, &mut found).await?;
                if cookie.is_empty() {
                    return Ok(found);
                }
            }
        };
        work.await.map_err(|why| self.error(search.doing(), why))
    }

    /// One page; returns the cookie of the next, empty if it was the last.
    async fn page(
        &mut self,
        search: &Search<'_>,
        cookie: &[u8],
        until: Instant,
        bytes: &mut usize,
        found: &mut Found,
    ) -> Result<Vec<u8>, Why> {
        let attributes: Vec<_> = search.attributes.iter().map(|name| Octets(name.as_bytes())).collect();
        let request = SearchRequest {
            base: search.base,
            scope: search.scope,
            size_limit: 0,
            time_limit: u32::try_from(search.within.as_secs()).unwrap_or(0),
            types_only: false,
            filter: search.filter.clone(),
            attributes: SequenceOf::of(&attributes),
        };
        let mut value = Vec::new();
        PagedResults { size: PAGE, cookie }.write(&mut value);
        let control = [Control { oid: PAGED_RESULTS, critical: false, value: Some(&value) }];
        // One entry has no pages.
        let controls = if search.scope == Scope::Base { &[][..] } else { &control };
        let message = Message { id: 0, op: Op::SearchRequest(request), controls: SequenceOf::of(controls) };
        let late = || Why::Broken(format!("the search did not end: {}", no_answer(search.within)));
        let id = timeout_at(until, self.send(&message)).await.unwrap_or_else(|_| Err(late()))?;
        loop {
            // Each message in the usual time, all of them in that of the search.
            let soon = until.min(Instant::now() + self.patience.answer);
            let answer = timeout_at(soon, self.receive(id)).await.unwrap_or_else(|_| Err(late()))?;
            *bytes += answer.len();
            if *bytes > BYTES_LIMIT {
                return Err(Why::Limit { what: "bytes of a search", limit: BYTES_LIMIT });
            }
            let message = Message::parse(&answer).map_err(malformed)?;
            match message.op {
                Op::SearchResultEntry(entry) => {
                    if found.entries.len() >= search.most {
                        return Err(Why::Limit { what: "entries", limit: search.most });
                    }
                    found.entries.push(Entry::of(&entry));
                }
                Op::SearchResultReference(uris) => {
                    let left = REFERRALS_LIMIT.saturating_sub(found.referrals.len());
                    found.referrals.extend(uris.iter().take(left).map(|uri| uri.to_string()));
                }
                Op::SearchResultDone(result) => {
                    self.done();
                    if result.code == ResultCode::SIZE_LIMIT_EXCEEDED {
                        return Err(Why::Limit { what: "entries that the server gives", limit: found.entries.len() });
                    }
                    succeeded(&result)?;
                    let page = message.controls.iter().find(|control| control.oid == PAGED_RESULTS);
                    let Some(value) = page.and_then(|control| control.value) else { return Ok(Vec::new()) };
                    // Samba gives every page the same cookie: only the time ends a server that gives empty pages.
                    return Ok(PagedResults::parse(value).map_err(malformed)?.cookie.to_vec());
                }
                other => return Err(unexpected("SearchRequest", &other)),
            }
        }
    }
}
