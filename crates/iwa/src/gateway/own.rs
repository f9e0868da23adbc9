//! The gateway's own pages, below `/.iwa/`: no route covers them, and no application sees a request for them.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use iwa_http::Status;

use super::Gateway;
use super::body::Body;
use super::decide::Asked;
use super::form;
use super::forward_auth;
use super::handle::Answer;
use super::identity::jwt::Issuer;
use super::pages;
use super::session;
use super::site::Site;

/// Where they are.
pub(crate) const PREFIX: &str = "/.iwa/";

/// Answers a request for the page of this name.
pub(crate) async fn answer(
    gateway: &Gateway,
    site: &Site,
    asked: &Asked<'_>,
    request: &Parts,
    body: &mut Option<Incoming>,
    name: &str,
) -> Answer {
    if let ("logout", Some(sessions)) = (name, &site.sessions) {
        return session::logout::answer(site, sessions, asked, request).await;
    }
    if name == "sign-in" && site.has_forms {
        return form::answer(site, asked, request, body).await;
    }
    match (name, &site.issuer) {
        _ if name == "auth" || name.starts_with("auth/") => {
            forward_auth::answer(gateway, site, asked, request, name).await
        }
        ("jwks.json", Some(issuer)) => jwks(asked, issuer),
        _ => {
            let status = Status::served(StatusCode::NOT_FOUND);
            Answer::of(pages::refusal(status, asked.id, None), status)
        }
    }
}

/// The public keys of the tokens that applications get. RFC 7517 8.5.2; no secret, and asked for by whoever is told of it.
fn jwks(asked: &Asked<'_>, issuer: &Issuer) -> Answer {
    if !matches!(*asked.method, Method::GET | Method::HEAD) {
        let status = Status::served(StatusCode::METHOD_NOT_ALLOWED);
        let mut answer = Answer::of(pages::refusal(status, asked.id, None), status);
        answer.response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let mut response = Response::new(Body::of(issuer.keys.jwks()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={}", issuer.keys.may_be_kept())) {
        headers.insert(CACHE_CONTROL, value);
    }
    Answer::of(response, Status::served(StatusCode::OK))
}
