//! A signed token that says who the visitor is. RFC 7515, RFC 7519; RFC 8725 for what must not be left out; RFC 8176 for `amr`.
//!
//! A token is for one application (`aud`) and for a minute, so that one that leaks is soon worth nothing. It is signed once and
//! serves all requests of the same visitor for half of its life; it names itself (`jti`), not a request.

use core::time::Duration;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use iwa_auth::Mechanism;

use super::keys::{Algorithm, Keys};

/// `[jwt]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct JwtConfig {
    /// `keys`: the directory.
    pub(crate) keys: PathBuf,
    /// `algorithm`.
    pub(crate) algorithm: Algorithm,
    /// `issuer`.
    pub(crate) issuer: String,
    /// `lifetime` of a token.
    pub(crate) lifetime: Duration,
    /// `rotate`: how long a key signs.
    pub(crate) rotate: Duration,
}

impl JwtConfig {
    /// `lifetime` by default.
    pub(crate) const LIFETIME: Duration = Duration::from_secs(60);
    /// `rotate` by default.
    pub(crate) const ROTATE: Duration = Duration::from_secs(30 * 86_400);
}

/// `[route.identity.jwt]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TokenTold {
    /// `audience`.
    pub(crate) audience: String,
    /// `header`; `Authorization` brings the token as `Bearer`.
    pub(crate) header: HeaderName,
}

/// Who issues tokens.
#[derive(Debug)]
pub(crate) struct Issuer {
    issuer: String,
    lifetime: u64,
    pub(crate) keys: Keys,
}

impl Issuer {
    /// Opens the keys.
    ///
    /// # Errors
    /// One line for the administrator.
    pub(crate) fn open(config: &JwtConfig, now: u64) -> Result<Self, String> {
        let keys = Keys::open(&config.keys, config.algorithm, config.rotate, config.lifetime, now)?;
        Ok(Self { issuer: config.issuer.clone(), lifetime: config.lifetime.as_secs(), keys })
    }
}

/// Makes the tokens of a route.
#[derive(Debug)]
pub(crate) struct Tokens {
    issuer: Arc<Issuer>,
    told: TokenTold,
    shards: [Mutex<HashMap<Box<str>, Kept>>; SHARDS],
    hash: RandomState,
}

#[derive(Debug)]
struct Kept {
    token: HeaderValue,
    /// Until when it is given out.
    until: u64,
}

/// What a token says of a visitor, besides who made it and when.
pub(crate) struct Claims<'a> {
    pub(crate) subject: &'a str,
    pub(crate) preferred_username: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) upn: Option<&'a str>,
    pub(crate) groups: &'a [String],
    pub(crate) mechanism: Mechanism,
    /// Whether the visitor proved it just now.
    pub(crate) fresh: bool,
}

impl Tokens {
    /// For a route.
    pub(crate) fn new(issuer: &Arc<Issuer>, told: &TokenTold) -> Self {
        Self {
            issuer: Arc::clone(issuer),
            told: told.clone(),
            shards: core::array::from_fn(|_| Mutex::default()),
            hash: RandomState::new(),
        }
    }

    /// The header of the token.
    pub(crate) const fn header(&self) -> &HeaderName {
        &self.told.header
    }

    /// A token with these claims, whose life is half over at most. `None` if none can be signed.
    pub(crate) fn token(&self, claims: &Claims<'_>, now: u64) -> Option<HeaderValue> {
        let text = self.lasting(claims);
        let shard = self.shards.get(self.hash.hash_one(&*text) as usize % SHARDS)?;
        let found = |shard: &HashMap<Box<str>, Kept>| {
            let kept = shard.get(&*text)?;
            // Neither one that is soon over nor, with a clock that went back, one of the future.
            (kept.until > now && kept.until <= now + self.issuer.lifetime).then(|| kept.token.clone())
        };
        if let Some(token) = found(&shard.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Some(token);
        }
        let token = self.sign(&text, claims.fresh, now)?;
        let kept = Kept { token: token.clone(), until: now + self.issuer.lifetime / 2 };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= MOST {
            shard.retain(|_, kept| kept.until > now);
            if shard.len() >= MOST {
                shard.clear();
            }
        }
        shard.insert(text.into_boxed_str(), kept);
        Some(token)
    }

    /// The claims that stay from token to token, as the beginning of a JSON object.
    fn lasting(&self, claims: &Claims<'_>) -> String {
        let mut members = serde_json::Map::new();
        let mut member = |name: &str, value: serde_json::Value| members.insert(name.to_owned(), value);
        member("iss", self.issuer.issuer.as_str().into());
        member("aud", self.told.audience.as_str().into());
        member("sub", claims.subject.into());
        member("preferred_username", claims.preferred_username.into());
        for (name, value) in [("name", claims.name), ("upn", claims.upn)] {
            if let Some(value) = value {
                member(name, value.into());
            }
        }
        member("groups", claims.groups.into());
        let method = match claims.mechanism {
            Mechanism::Kerberos | Mechanism::Ntlm => "wia",
            Mechanism::Basic => "pwd",
        };
        member("amr", vec![method].into());
        let mut text = serde_json::Value::Object(members).to_string();
        text.pop();
        // Two visitors of whom one proved it just now are not the same.
        text.push_str(if claims.fresh { ",\"auth_time\":" } else { ",\"iat\":" });
        text
    }

    fn sign(&self, lasting: &str, fresh: bool, now: u64) -> Option<HeaderValue> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).ok()?;
        let id = URL_SAFE_NO_PAD.encode(id);
        let iat = if fresh { format!("{now},\"iat\":{now}") } else { now.to_string() };
        let expires = now + self.issuer.lifetime;
        let claims = format!("{lasting}{iat},\"nbf\":{now},\"exp\":{expires},\"jti\":\"{id}\"}}");
        let token = self.issuer.keys.signing(now)?.token(&claims)?;
        let value = if self.told.header == AUTHORIZATION { format!("Bearer {token}") } else { token };
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Locks over which the tokens of a route are spread, so that nobody waits for another's.
const SHARDS: usize = 16;

/// Tokens behind one of them.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(name: &str, audience: &str, issuer: Option<&Arc<Issuer>>) -> (Tokens, PathBuf) {
        let dir = std::env::temp_dir().join(format!("iwa-tokens-{name}-{}", std::process::id()));
        let config = JwtConfig {
            keys: dir.clone(),
            algorithm: Algorithm::default(),
            issuer: "https://gateway.example.test".into(),
            lifetime: JwtConfig::LIFETIME,
            rotate: JwtConfig::ROTATE,
        };
        let opened = || Arc::new(Issuer::open(&config, NOW).expect("keys"));
        let issuer = issuer.cloned().unwrap_or_else(opened);
        let header = HeaderName::from_static("x-jwt-assertion");
        (Tokens::new(&issuer, &TokenTold { audience: audience.into(), header }), dir)
    }

    const NOW: u64 = 1_764_000_000;

    const ALICE: Claims<'_> = Claims {
        subject: "S-1-5-21-7-7-7-1104",
        preferred_username: "CORP\\alice",
        name: Some("Alice \"the\" \u{c4}nders"),
        upn: None,
        groups: &[],
        mechanism: Mechanism::Kerberos,
        fresh: true,
    };

    fn claims(token: &HeaderValue) -> serde_json::Value {
        let token = token.to_str().expect("text");
        let payload = token.split('.').nth(1).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
    }

    #[test]
    fn a_token_says_who_for_whom_by_whom_and_for_how_long() {
        let (tokens, dir) = tokens("says", "https://app.example.test", None);
        let found = claims(&tokens.token(&ALICE, NOW).expect("a token"));
        let wanted = serde_json::json!({
            "iss": "https://gateway.example.test", "aud": "https://app.example.test", "sub": "S-1-5-21-7-7-7-1104",
            "preferred_username": "CORP\\alice", "name": "Alice \"the\" \u{c4}nders", "groups": [], "amr": ["wia"],
            "auth_time": NOW, "iat": NOW, "nbf": NOW, "exp": NOW + 60, "jti": found["jti"],
        });
        assert_eq!(found, wanted);
        assert_eq!(found["jti"].as_str().expect("text").len(), 22);
        let groups = ["CORP\\Web Admins".to_owned()];
        let by_password = Claims {
            mechanism: Mechanism::Basic,
            fresh: false,
            upn: Some("a@b"),
            groups: &groups,
            name: None,
            ..ALICE
        };
        let found = claims(&tokens.token(&by_password, NOW).expect("a token"));
        assert_eq!(
            (&found["amr"], &found["upn"], &found["groups"]),
            (&["pwd"][..].into(), &"a@b".into(), &["CORP\\Web Admins"][..].into())
        );
        assert!(found.get("auth_time").is_none() && found.get("name").is_none());
        let _ = std::fs::remove_dir_all(dir);
    }

    #[test]
    fn a_token_serves_its_visitor_for_half_its_life_and_nobody_else() {
        let (tokens, dir) = tokens("kept", "https://app.example.test", None);
        let (other, _) = self::tokens("kept", "https://other.example.test", Some(&tokens.issuer));
        let first = tokens.token(&ALICE, NOW).expect("a token");
        assert!(first.is_sensitive());
        assert_eq!(tokens.token(&ALICE, NOW + 29), Some(first.clone()));
        let groups = ["staff".to_owned()];
        for differs in [
            Claims { subject: "S-1-5-21-7-7-7-1105", ..ALICE },
            Claims { preferred_username: "CORP\\alice2", ..ALICE },
            Claims { name: None, ..ALICE },
            Claims { upn: Some("alice@corp.example.test"), ..ALICE },
            Claims { groups: &groups, ..ALICE },
            Claims { mechanism: Mechanism::Basic, ..ALICE },
            Claims { fresh: false, ..ALICE },
        ] {
            let token = tokens.token(&differs, NOW).expect("a token");
            assert_ne!(token, first);
            assert_ne!(claims(&token)["jti"], claims(&first)["jti"]);
        }
        assert_ne!(other.token(&ALICE, NOW), Some(first.clone()), "nor another application");
        let later = tokens.token(&ALICE, NOW + 30).expect("a token");
        assert_eq!(claims(&later)["exp"], NOW + 90);
        // A clock that went back by more than a token's life.
        assert_eq!(claims(&tokens.token(&ALICE, NOW - 600).expect("a token"))["iat"], NOW - 600);
        let _ = std::fs::remove_dir_all(dir);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (tokens, dir) = tokens("bounded", "https://app.example.test", None);
        for number in 0..SHARDS * MOST + 2_000 {
            let name = number.to_string();
            tokens.token(&Claims { preferred_username: &name, ..ALICE }, NOW).expect("a token");
        }
        let kept: usize = tokens.shards.iter().map(|shard| shard.lock().expect("not poisoned").len()).sum();
        assert!(kept <= SHARDS * MOST && kept > 0, "{kept}");
        let _ = std::fs::remove_dir_all(dir);
    }
}
