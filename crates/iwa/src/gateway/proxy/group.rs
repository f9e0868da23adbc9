//! The addresses of one application, and which of them a request goes to.

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use super::pool::Pool;
use crate::config::Balance;

/// The addresses of an application.
pub(super) struct Group {
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) balance: Balance,
    next: AtomicUsize,
    /// Their health is looked after.
    pub(super) watched: AtomicBool,
}

/// Which of them were tried already, by number.
#[derive(Clone, Copy, Default)]
pub(super) struct Tried(u64);

impl Tried {
    fn has(self, number: usize) -> bool {
        self.0 >> number & 1 == 1
    }

    pub(super) fn add(&mut self, number: usize) {
        self.0 |= 1 << number;
    }
}

impl Group {
    /// The most addresses that an application can have.
    pub(crate) const MOST: usize = 64;

    pub(super) const fn new(pools: Vec<Arc<Pool>>, balance: Balance) -> Self {
        Self { pools, balance, next: AtomicUsize::new(0), watched: AtomicBool::new(false) }
    }

    /// Where a request of this client goes that was sent to none but `tried`. Those that are not in good standing come last.
    pub(super) fn choose(&self, client: IpAddr, tried: Tried) -> Option<(usize, &Arc<Pool>)> {
        if self.pools.len() == 1 {
            return self.pools.first().filter(|_| !tried.has(0)).map(|pool| (0, pool));
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.choose_among(client, turn, |number, pool| !tried.has(number) && pool.standing.is_good())
            .or_else(|| self.choose_among(client, turn, |number, _| !tried.has(number)))
    }

    fn choose_among(
        &self,
        client: IpAddr,
        turn: usize,
        may: impl Fn(usize, &Pool) -> bool,
    ) -> Option<(usize, &Arc<Pool>)> {
        let count = self.pools.len();
        let in_turn = (0..count).map(|step| turn.wrapping_add(step) % count.max(1));
        let mut those =
            in_turn.filter_map(|number| Some((number, self.pools.get(number)?))).filter(|(n, pool)| may(*n, pool));
        match self.balance {
            Balance::RoundRobin => those.next(),
            Balance::LeastConnections => those.min_by_key(|(_, pool)| pool.under_way()),
            Balance::ClientAddress => those.max_by_key(|(_, pool)| weight(client, pool)),
        }
    }
}

/// Rendezvous hashing: a client stays where it is when another address comes or goes. FNV-1a, which need not resist anybody:
/// a client that chooses its address chooses its server, no more.
fn weight(client: IpAddr, pool: &Pool) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = match client {
        IpAddr::V4(client) => client.octets().into_iter().fold(start, step),
        IpAddr::V6(client) => client.octets().into_iter().fold(start, step),
    };
    let hash = pool.target.to_string().bytes().fold(hash, step);
    // The last bytes would count for little else.
    let hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ hash >> 32
}
