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
//!
//! They cannot be made from outside, one by one:
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
//! And nobody outside makes an identity, with or without them:
//!
//! ```compile_fail,E0451
//! use iwa_auth::{Account, Identity, Mechanism};
//! let forged = Identity { account: Account::default(), groups: Box::default(), mechanism: Mechanism::Kerberos };
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
