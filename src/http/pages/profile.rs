//! `/account/profile`: the form that changes the name and the language.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::profile::{self, ProfileChange, ProfileErrors};
use crate::http::extract::form::FormState;
use crate::http::extract::own_form::OwnFields;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::notice::Notice;
use crate::http::pages::language;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other};
use crate::http::state::AppState;
use crate::links;
use crate::locale::Locale;

#[derive(Template)]
#[template(path = "pages/profile.html")]
pub(super) struct ProfilePage {
    pub(super) page: Page,
    /// `name` and `locale`, as they are or as typed.
    pub(super) form: FormState,
}

/// GET /account/profile, or 303 to `/login`.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    let page = Page::of(&state, &visitor, links::ACCOUNT, Some(&signed_in));
    let form = FormState::of([("name", signed_in.user.name), ("locale", signed_in.user.locale)]);
    html(StatusCode::OK, &ProfilePage { page, form })
}

/// POST /account/profile: 303 to `/account`, or 422 with the form as typed.
///
/// # Errors
/// 429 for a network that asks too often, 503 when the database is away.
pub async fn submit(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    OwnFields(fields): OwnFields,
) -> Result<Response, Problem> {
    let [name, locale] = fields.take(["name", "locale"])?;
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    state.rate_limits.login.check(visitor.client.network)?;
    let locale_typed = Some(locale.as_str()).filter(|locale| !locale.is_empty());
    let change = ProfileChange { name: Some(&name), locale: locale_typed };
    match profile::change(&state.accounts, &signed_in.user, change).await {
        Ok(_) => {
            state.sessions.forget(signed_in.session);
            // in this browser too, where another one may have been chosen before
            let chosen = Locale::from_tag(&locale).map(|locale| language::cookie(&state, locale)).transpose()?;
            let notice = Notice::ProfileChanged.cookie(state.https)?;
            Ok(see_other(links::ACCOUNT, [notice].into_iter().chain(chosen)))
        }
        Err(error) => {
            let errors: ProfileErrors = error.downcast()?;
            let page = Page::of(&state, &visitor, links::ACCOUNT, Some(&signed_in));
            let form = FormState::of([("name", name), ("locale", locale)]);
            let form = field_errors::of_profile(errors, page.t)
                .into_iter()
                .fold(form, |form, (field, text)| form.with_field_error(field, text));
            html(StatusCode::UNPROCESSABLE_ENTITY, &ProfilePage { page, form })
        }
    }
}
