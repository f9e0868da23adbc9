//! What a person reads instead of a bare status. The page names the sub-status, the request, and at 403 who they are; never
//! why a logon failed, because an attacker reads it too.

use core::fmt::Write as _;

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use iwa_auth::Identity;
use iwa_http::Status;

use super::body::Body;
use super::exchange::RequestId;
use super::templates::{Facts, Page};

/// The page of a refusal.
pub(crate) fn refusal(status: Status, id: RequestId, identity: Option<&Identity>) -> Response<Body> {
    let text = text(status);
    let mut main = format!("<p>{}</p>", text.what);
    if status.http == StatusCode::FORBIDDEN
        && let Some(identity) = identity
    {
        let name = escape(&identity.to_string());
        let _ = write!(main, "<p>You are signed in as <b>{name}</b> ({}).</p>", identity.mechanism());
    }
    if !text.help.is_empty() {
        let _ = write!(main, "<p>{}</p>", text.help);
    }
    let number = format_args!("{}.{}", status.http.as_u16(), status.sub);
    let mut response = html(
        status.http,
        text.title,
        &format!(
            "{main}<p class=\"small\">{number} &middot; request {id}. The administrator finds under this number in the log what happened.</p>"
        ),
    );
    let user = identity.filter(|_| status.http == StatusCode::FORBIDDEN).map(ToString::to_string).unwrap_or_default();
    response.extensions_mut().insert(Facts {
        page: Page::of(status.http),
        title: text.title,
        what: text.what,
        help: text.help,
        status,
        request_id: id,
        user,
        form: String::new(),
    });
    if let Some(seconds) = status.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The page of a refusal that leads to the page where an application signs its users in.
pub(crate) fn leads_to(status: Status, id: RequestId, address: &str) -> Response<Body> {
    let address = escape(address);
    let head = format!("<meta http-equiv=\"refresh\" content=\"0;url={address}\">");
    let main = format!(
        "<p>You are not signed in. <a href=\"{address}\">Sign in</a></p><p class=\"small\">{}.{} &middot; request {id}.</p>",
        status.http.as_u16(),
        status.sub
    );
    page(status.http, "Sign-in required", &head, &main)
}

/// The answer that sends a browser to another address.
pub(crate) fn redirect(status: StatusCode, address: &str) -> Response<Body> {
    let main = format!("<p>It goes on <a href=\"{}\">here</a>.</p>", escape(address));
    let mut response = html(status, "Elsewhere", &main);
    if let Ok(address) = HeaderValue::try_from(address) {
        response.headers_mut().insert(LOCATION, address);
    }
    response
}

/// A page. `main` is HTML.
pub(crate) fn html(status: StatusCode, title: &str, main: &str) -> Response<Body> {
    page(status, title, "", main)
}

/// The same with more in its head. Both are HTML.
pub(crate) fn html_with(status: StatusCode, title: &str, head: &str, main: &str) -> Response<Body> {
    page(status, title, head, main)
}

fn page(status: StatusCode, title: &str, head: &str, main: &str) -> Response<Body> {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>{head}\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n\
         <body><main><h1>{title}</h1>{main}</main></body></html>\n"
    );
    let mut response = Response::new(Body::of(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Text for HTML, between tags or in a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

struct Text {
    title: &'static str,
    what: &'static str,
    help: &'static str,
}

const fn text(status: Status) -> Text {
    let (title, what, help) = match (status.http, status.sub) {
        (StatusCode::UNAUTHORIZED, 2) => (
            "Sign-in required",
            "This site signs you in with your Windows account, and your browser did not offer it.",
            "Use the site's full name and not its address. Your browser signs in by itself only to sites it trusts: in Edge and \
             Chrome the administrator lists them (AuthServerAllowlist), in Firefox they are in network.negotiate-auth.trusted-uris.",
        ),
        (StatusCode::UNAUTHORIZED, _) => (
            "Sign-in failed",
            "The server did not accept the account that your browser offered.",
            "If you typed a name and a password, check them. If you were not asked for any, sign out of your computer and in again, \
             which renews your tickets, and try once more.",
        ),
        (StatusCode::FORBIDDEN, 4) => ("Secure connection required", "Passwords are taken over https only.", ""),
        (StatusCode::FORBIDDEN, _) => {
            ("Not allowed", "You are not allowed to see this page.", "Ask for access, or sign in with another account.")
        }
        (StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE, _) => {
            ("Bad request", "The server cannot read what your browser, or something between, sent.", "")
        }
        (StatusCode::NOT_FOUND, _) => ("Not found", "There is nothing here under this name.", ""),
        (StatusCode::METHOD_NOT_ALLOWED, _) => {
            ("Method not allowed", "This page can be read, and nothing else be done with it.", "")
        }
        (StatusCode::BAD_GATEWAY, _) => (
            "Application unavailable",
            "The application behind this server cannot be reached, or gave no proper answer.",
            "Try again in a moment; if it fails again, tell the administrator.",
        ),
        (StatusCode::GATEWAY_TIMEOUT, _) => (
            "Application too slow",
            "The application behind this server did not answer in time.",
            "It may have done what you asked for nevertheless. Look before you try again.",
        ),
        (StatusCode::REQUEST_TIMEOUT, _) => {
            ("Too slow", "Your browser did not send all of its request in time.", "Try again.")
        }
        (StatusCode::SERVICE_UNAVAILABLE, _) => (
            "Unavailable",
            "The server cannot check accounts, or is too busy, at the moment.",
            "Try again in a moment.",
        ),
        _ => (
            "Server error",
            "The server failed at this request.",
            "Try again; if it fails again, tell the administrator.",
        ),
    };
    Text { title, what, help }
}

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#1b1b1b;background:#f4f4f4}\
main{max-width:38em;margin:12vh auto;padding:1.5em 2em;background:#fff;border-radius:6px}\
h1{font-size:1.5em;margin:0 0 .5em}.small{color:#666;font-size:.85em}td,th{text-align:left;padding:.1em 1em .1em 0;\
vertical-align:top}code{word-break:break-all}button{font:inherit;padding:.3em 1em}\
@media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#161616}main{background:#222}.small{color:#999}}";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use iwa_auth::NtStatus;
    use iwa_auth::identity::Account;
    use iwa_auth::ports::PasswordVerified;

    use super::*;

    const ID: RequestId = RequestId { boot: 7, number: 9 };

    async fn body(response: Response<Body>) -> String {
        let bytes = response.into_body().collect().await.expect("in memory").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[tokio::test]
    async fn a_page_names_sub_status_and_request() {
        let page = body(refusal(Status::CHALLENGE, ID, None)).await;
        assert!(page.contains("401.2") && page.contains("00000007-000009"), "{page}");
    }

    #[tokio::test]
    async fn a_refused_logon_looks_the_same_whatever_the_reason() {
        let pages = [
            NtStatus::NO_SUCH_USER,
            NtStatus::WRONG_PASSWORD,
            NtStatus::ACCOUNT_LOCKED_OUT,
            NtStatus::ACCOUNT_DISABLED,
        ];
        let mut seen = Vec::new();
        for status in pages {
            seen.push(body(refusal(Status::of(&status.into()), ID, None)).await);
        }
        seen.dedup();
        assert_eq!(seen.len(), 1);
    }

    #[tokio::test]
    async fn who_is_refused_with_403_reads_who_they_are_and_nothing_of_it_is_markup() {
        let account = Account { name: "<script>alice".into(), domain: "CORP".into(), ..Account::default() };
        let identity = Identity::from_password(PasswordVerified::by_authority(account, Vec::new()));
        let page = body(refusal(Status::FORBIDDEN, ID, Some(&identity))).await;
        assert!(page.contains("CORP\\&lt;script&gt;alice") && !page.contains("<script>"), "{page}");
    }

    #[tokio::test]
    async fn what_is_unavailable_says_when_to_come_back() {
        let status = Status::of(&iwa_auth::reject::Unavailable::TooManyHandshakes.into());
        assert_eq!(refusal(status, ID, None).headers()[RETRY_AFTER], "5");
    }
}
