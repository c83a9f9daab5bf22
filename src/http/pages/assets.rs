//! What the pages load: three small files, inside the binary.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use crate::http::problem::Problem;

const FILES: [(&str, &str, &str); 3] = [
    ("style.css", "text/css; charset=utf-8", include_str!("../../../static/style.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../../../static/page.js")),
    ("icon.svg", "image/svg+xml; charset=utf-8", include_str!("../../../static/icon.svg")),
];

/// GET /static/{name}
///
/// # Errors
/// 404 for any other name.
pub async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let (_, kind, text) =
        FILES.into_iter().find(|(file, ..)| *file == name).ok_or_else(|| Problem::of(StatusCode::NOT_FOUND))?;
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}
