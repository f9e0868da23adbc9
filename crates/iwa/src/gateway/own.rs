//! The gateway's own pages, below `/.iwa/`: no route covers them, and no application sees a request for them.

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use iwa_http::Status;

use super::Gateway;
use super::decide::Asked;
use super::forward_auth;
use super::handle::Answer;
use super::pages;
use super::site::Site;

/// Where they are.
pub(crate) const PREFIX: &str = "/.iwa/";

/// Answers a request for the page of this name.
pub(crate) async fn answer(
    gateway: &Gateway,
    site: &Site,
    asked: &Asked<'_>,
    request: &Parts,
    _body: &mut Option<Incoming>,
    name: &str,
) -> Answer {
    match name {
        _ if name == "auth" || name.starts_with("auth/") => {
            forward_auth::answer(gateway, site, asked, request, name).await
        }
        _ => {
            let status = Status::served(StatusCode::NOT_FOUND);
            Answer::of(pages::refusal(status, asked.id, None), status)
        }
    }
}
