//! Stands in for Kerberos until its two ends are built: refuses it.
/// The KDC client.
pub mod client {
    use crate::{Env, Reject};

    /// A credential for Kerberos.
    #[derive(Debug)]
    pub enum Client {}

    #[derive(Debug)]
    pub(crate) enum Step {
        NeedKdc(NeedKdc),
        Ticket(ServiceTicket),
    }

    #[derive(Debug)]
    pub(crate) enum ServiceTicket {}

    #[derive(Debug)]
    pub(crate) enum NeedKdc {}

    impl Client {
        pub(crate) fn ticket(&self, _: &str, _: &mut Env<'_>) -> Result<Step, Reject> {
            match *self {}
        }
    }

    impl NeedKdc {
        pub(crate) fn realm(&self) -> &str {
            match *self {}
        }

        pub(crate) fn request(&self) -> &[u8] {
            match *self {}
        }

        pub(crate) fn answer(self, _: &[u8], _: &mut Env<'_>) -> Result<Step, Reject> {
            match self {}
        }
    }
}

pub(crate) mod initiator {
    use super::client::ServiceTicket;
    use crate::{ChannelBindings, Env, Reject};

    pub(crate) struct Options<'a> {
        pub(crate) mutual: bool,
        pub(crate) delegate: bool,
        pub(crate) bindings: &'a ChannelBindings,
    }

    #[derive(Debug)]
    pub(crate) enum Pending {}

    #[derive(Debug)]
    pub(crate) enum Context {}

    pub(crate) fn initiate(
        ticket: &ServiceTicket,
        Options { mutual: _, delegate: _, bindings: _ }: Options<'_>,
        _: &mut Env<'_>,
        _: &mut Vec<u8>,
    ) -> Result<Pending, Reject> {
        match *ticket {}
    }

    impl Pending {
        pub(crate) fn finish(self, _: &[u8]) -> Result<Context, Reject> {
            match self {}
        }

        pub(crate) fn finish_one_way(self) -> Context {
            match self {}
        }
    }

    impl Context {
        pub(crate) fn sign(&mut self, _: &[u8]) -> Result<Vec<u8>, Reject> {
            match *self {}
        }

        pub(crate) fn verify(&mut self, _: &[u8], _: &[u8]) -> bool {
            match *self {}
        }
    }
}
