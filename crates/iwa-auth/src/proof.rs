//! Proofs: values that only a check can make, and that an [`Identity`](crate::Identity) demands. A check that is left out
//! does not compile.
//!
//! | proof | made by | says |
//! |---|---|---|
//! | [`NotReplayed`] | the answer to [`NeedReplayCheck`](crate::NeedReplayCheck) | this authenticator was never seen before |
//! | [`BindingChecked`] | [`BindingPolicy::check`](crate::BindingPolicy::check) | token and channel belong together, as far as the policy asks |
//! | [`PacVerified`] | [`krb5::pac`](crate::krb5::pac) | the PAC is the KDC's word about this client, or the policy does without |
//! | [`LogonVerified`] | [`ntlm::acceptor`](crate::ntlm::acceptor), [`ports`](crate::ports) | the authority knows this user by this proof |
//! | [`MicVerified`] | [`ntlm::acceptor`](crate::ntlm::acceptor) | nobody changed the NTLM messages on their way, as far as the client lets us tell |
//! | [`PasswordVerified`](crate::ports::PasswordVerified) | [`Logon::password`](crate::ports::Logon::password) | the authority took this user's password |
//! | [`SessionVerified`](crate::ports::SessionVerified) | whoever opens a seal of its own | this user proved themselves before, here, and the session has not ended |
//!
//! The last two are made by programs around this crate, which ask the authority and hold the keys; each has one constructor,
//! whose name says what its caller swears to. The others cannot be made from outside, one by one:
//!
//! ```compile_fail,E0423
//! let forged = iwa_auth::proof::BindingChecked(());
//! ```
//!
//! ```compile_fail,E0423
//! let forged = iwa_auth::proof::NotReplayed(());
//! ```
//!
//! ```compile_fail,E0423
//! let forged = iwa_auth::proof::PacVerified(());
//! ```
//!
//! ```compile_fail,E0423
//! let forged = iwa_auth::proof::LogonVerified(());
//! ```
//!
//! ```compile_fail,E0423
//! let forged = iwa_auth::proof::MicVerified(());
//! ```
//!
//! ```compile_fail,E0451
//! use iwa_auth::{Account, Mechanism, ports::SessionVerified};
//! let (groups, named_groups, mechanism) = (Vec::new(), None, Mechanism::Kerberos);
//! let forged = SessionVerified { account: Account::default(), groups, named_groups, mechanism };
//! ```
//!
//! Nor is there a second one to be had from a first, or one out of nothing:
//!
//! ```compile_fail,E0277
//! fn twice<T: Clone>() {}
//! twice::<iwa_auth::proof::NotReplayed>();
//! ```
//!
//! ```compile_fail,E0277
//! fn out_of_nothing<T: Default>() {}
//! out_of_nothing::<iwa_auth::proof::BindingChecked>();
//! ```
//!
//! ```compile_fail,E0277
//! fn twice<T: Clone>() {}
//! twice::<iwa_auth::ports::SessionVerified>();
//! ```
//!
//! And nobody outside makes an identity, with or without them:
//!
//! ```compile_fail,E0451
//! use iwa_auth::{Account, Identity, Mechanism};
//! let forged = Identity { account: Account::default(), groups: Box::default(), named_groups: None, mechanism: Mechanism::Kerberos };
//! ```
//!
//! ```compile_fail,E0624
//! let make = iwa_auth::Identity::from_kerberos;
//! ```
//!
//! ```compile_fail,E0624
//! let make = iwa_auth::Identity::from_ntlm;
//! ```
//!
//! ```compile_fail,E0277
//! fn twice<T: Clone>() {}
//! twice::<iwa_auth::Identity>();
//! ```

pub use crate::binding::BindingChecked;
pub use crate::krb5::pac::PacVerified;
pub use crate::krb5::replay::NotReplayed;
pub use crate::ntlm::acceptor::{LogonVerified, MicVerified};
