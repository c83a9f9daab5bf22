//! Guesses at a password while the program is killed: a budget is as it was when it comes back.

use futures_util::future::join_all;

use super::fresh;
use crate::support::app::{OTHER_PASSWORD, Stack};
use crate::support::process::Bellhop;

/// Guesses at one account at once, each from a network of its own.
const AT_ONCE: usize = 40;

/// What may be compared.
const BUDGET: usize = 5;

/// How many guesses were compared and told so; those that were cut off are none.
async fn guess(app: &Bellhop) -> usize {
    let client = app.client();
    let guesses = (0..AT_ONCE).map(|nth| {
        let request = client.posting("/login").header("x-forwarded-for", format!("198.51.{nth}.7"));
        request.form(&[("email", "ann@example.org"), ("password", OTHER_PASSWORD)]).send()
    });
    let answers = join_all(guesses).await.into_iter().flatten();
    answers.filter(|answer| answer.status() == 422).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_14_a_kill_refills_no_budget() {
    for stack in [Stack::Small, Stack::Large] {
        let app = fresh(stack).await.with("LIMITS", "on").with("TRUSTED_PROXIES", "127.0.0.1/32");
        let mut app =
            app.with("LIMIT_LOGIN_ACCOUNT", &format!("{BUDGET}/24h")).with("FAILPOINT", "request.committed:3");
        app.start().await;
        // it dies in the midst, when the third is counted and nobody was told so
        let before = guess(&app).await;
        app.end().await;
        assert!(before < 3, "{before} were told");
        app.die_at(None);
        app.start().await;
        let after = guess(&app).await;
        // those that shared the commit of the third are counted too
        assert!(after <= BUDGET - 3 && before + after <= BUDGET, "{before} and {after} on {stack:?}");
        app.kill9();
        app.start().await;
        assert_eq!(guess(&app).await, 0);
    }
}
