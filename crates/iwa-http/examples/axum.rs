//! An axum application whose visitors are signed in: `cargo run -p iwa-http --example axum -- http.keytab`, then
//! `curl --negotiate -u : http://web.example.test:8080/`.
use std::sync::Arc;

use axum::routing::get;
use axum::{Extension, Router};
use iwa_http::{Identity, SignIn};

async fn hello(Extension(who): Extension<Arc<Identity>>) -> String {
    format!("Hello, {who}. You are in {} groups.\n", who.groups().len())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keytab = std::env::args().nth(1).unwrap_or_else(|| "/etc/http.keytab".to_owned());
    let sign_in = SignIn::with_keytab(keytab)?.layer()?;
    let app = Router::new().route("/", get(hello)).layer(sign_in);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    Ok(iwa_http::serve(listener, app).await?)
}
