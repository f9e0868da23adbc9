//! Why an application did not answer: the status for the client, the numbers for the log as IIS's Application Request Routing writes
//! them (502.3, 504, errors of WinHTTP), and the words for the administrator.

use http::StatusCode;
use iwa_http::Status;

/// No answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(super) why: Why,
    /// What happened; where; what to do.
    pub(super) words: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// Its name is not known.
    Unresolved,
    /// It cannot be connected to.
    Unreachable,
    /// TLS failed: its certificate, as a rule.
    Tls,
    /// It took too long to connect.
    ConnectTimeout,
    /// It took too long to answer.
    AnswerTimeout,
    /// Its connection ended before there was an answer.
    Died,
    /// What it sent is not HTTP, or not to be handed on.
    BadAnswer,
    /// The gateway could not sign in there.
    SignIn,
    /// As many requests as may be are under way.
    Busy,
    /// The client did not send its request's body in time.
    SlowClient,
    /// The request cannot be handed on.
    BadRequest,
    /// Nobody waits for the answer any more.
    ClientGone,
}

impl Failure {
    pub(super) fn new(why: Why, words: impl Into<String>) -> Self {
        Self { why, words: words.into() }
    }

    /// What the client and the logs see.
    pub(super) fn status(&self) -> Status {
        const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
        const GATEWAY_TIMEOUT: StatusCode = StatusCode::GATEWAY_TIMEOUT;
        // ERROR_WINHTTP_...
        const TIMEOUT: u32 = 12002;
        const NAME_NOT_RESOLVED: u32 = 12007;
        const LOGIN_FAILURE: u32 = 12015;
        const CANNOT_CONNECT: u32 = 12029;
        const CONNECTION_ERROR: u32 = 12030;
        const INVALID_SERVER_RESPONSE: u32 = 12152;
        const SECURE_FAILURE: u32 = 12175;
        // ERROR_CONNECTION_INVALID, as HTTP.sys's log has it for a client that is gone.
        const CLIENT_GONE: u32 = 1229;
        let (http, sub, win32) = match self.why {
            Why::Unresolved => (BAD_GATEWAY, 3, NAME_NOT_RESOLVED),
            Why::Unreachable => (BAD_GATEWAY, 3, CANNOT_CONNECT),
            Why::Tls => (BAD_GATEWAY, 3, SECURE_FAILURE),
            Why::Died => (BAD_GATEWAY, 3, CONNECTION_ERROR),
            Why::BadAnswer => (BAD_GATEWAY, 3, INVALID_SERVER_RESPONSE),
            Why::SignIn => (BAD_GATEWAY, 3, LOGIN_FAILURE),
            Why::ConnectTimeout | Why::AnswerTimeout => (GATEWAY_TIMEOUT, 0, TIMEOUT),
            Why::Busy => (StatusCode::SERVICE_UNAVAILABLE, 0, TIMEOUT),
            Why::SlowClient => (StatusCode::REQUEST_TIMEOUT, 0, TIMEOUT),
            Why::BadRequest => (StatusCode::BAD_REQUEST, 0, 0),
            Why::ClientGone => (client_closed_request(), 0, CLIENT_GONE),
        };
        Status { http, sub, win32 }
    }

    /// Whether nobody is to blame for it but the client.
    pub(super) const fn is_the_clients(&self) -> bool {
        matches!(self.why, Why::ClientGone | Why::SlowClient | Why::BadRequest)
    }

    /// Whether nothing of the request can have left this server: it may be sent elsewhere, whatever it is.
    pub(super) const fn before_anything_was_sent(&self) -> bool {
        matches!(self.why, Why::Unresolved | Why::Unreachable | Why::Tls | Why::ConnectTimeout)
    }
}

/// 499, as nginx logs it: no client ever sees it.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}
