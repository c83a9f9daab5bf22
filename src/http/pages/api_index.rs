//! `/api`: the calls of the API, to read.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};

use crate::http::extract::visitor::Visitor;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::html;
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/api_index.html")]
pub(super) struct ApiIndexPage {
    pub(super) page: Page,
    /// The operations, in the order of the document.
    pub(super) operations: Vec<ApiRow>,
}

/// One operation of the API.
pub(super) struct ApiRow {
    /// GET, POST, DELETE …
    pub(super) method: &'static str,
    /// The path with its parameters in braces.
    pub(super) path: String,
    /// What it does.
    pub(super) summary: String,
}

/// GET /api: the OpenAPI document, to read.
///
/// # Errors
/// When the database is away.
pub async fn index(
    State(state): State<Arc<AppState>>,
    Extension(document): Extension<Arc<OpenApi>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&state).await?;
    let page = Page::of(&state, &visitor, links::API_INDEX, signed_in.as_ref());
    let operations = document.paths.paths.iter().flat_map(|(path, item)| {
        operations(item).map(|(method, operation)| ApiRow {
            method,
            path: path.clone(),
            summary: operation.summary.clone().unwrap_or_default(),
        })
    });
    html(StatusCode::OK, &ApiIndexPage { page, operations: operations.collect() })
}

fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    let all = [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}
