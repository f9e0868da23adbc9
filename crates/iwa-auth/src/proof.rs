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
//! They cannot be made from outside:
//!
//! ```compile_fail
//! let forged = iwa_auth::proof::BindingChecked(());
//! ```
//!
//! ```compile_fail
//! let forged = iwa_auth::proof::NotReplayed(());
//! ```

pub use crate::binding::BindingChecked;
pub use crate::krb5::pac::PacVerified;
pub use crate::krb5::replay::NotReplayed;
pub use crate::ntlm::acceptor::{LogonVerified, MicVerified};
