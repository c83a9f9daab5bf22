//! The page about anything that is a refusal or a failure.

use std::time::Duration;

use askama::Template;

use crate::http::middleware::render_problem::PageRequest;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::redirect::Target;

#[derive(Template)]
#[template(path = "pages/problem.html")]
pub(super) struct ProblemPage {
    pub(super) page: Page,
    /// The status of the answer.
    pub(super) status: u16,
    /// What is the matter.
    pub(super) title: String,
    /// What to do about it.
    pub(super) detail: String,
}

impl ProblemPage {
    /// The statuses that have texts of their own.
    pub(super) const STATUSES: [u16; 10] = [400, 403, 404, 405, 413, 415, 421, 429, 500, 503];

    /// The page for `status`. One without texts of its own takes those of its class: 400 or 500.
    pub(super) fn new(page: Page, status: u16, wait: Option<Duration>) -> Self {
        let class = if status < 500 { 400 } else { 500 };
        let known = if Self::STATUSES.contains(&status) { status } else { class };
        let title = page.t.get(&format!("problem-{known}-title"));
        let detail = match (known, wait) {
            (429, Some(wait)) => page.t.args("problem-429-wait", &[("wait", &page.t.wait(wait))]),
            _ => page.t.get(&format!("problem-{known}-detail")),
        };
        Self { page, status, title, detail }
    }
}

/// The page about a problem, in the reader's language.
#[must_use]
pub fn problem_page(problem: &Problem, request: &PageRequest) -> String {
    let page = ProblemPage::new(
        Page { here: Target::here(&request.method, &request.uri), ..Page::new(request.locale, "") },
        problem.status.as_u16(),
        problem.retry_after,
    );
    // a template that cannot be formatted is told in the plainest words there are
    page.render().unwrap_or_else(|_| problem.status.to_string())
}
