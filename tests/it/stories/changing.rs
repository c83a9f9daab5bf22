//! Moving an account to another address, deleting it, taking it along; and what happens by itself when its time has come.

use std::time::Duration;

use bellhop::event::{Event, Origin, Refusal};
use bellhop::messaging::outbox;
use serde_json::json;

use crate::support::app::{
    Answer, HttpClient, Letter, OTHER_PASSWORD, PASSWORD, Stack, TestApp, on_both_stacks, within,
};

on_both_stacks!(
    item_48_an_address_changes_by_the_link_in_its_mail_and_the_former_one_is_told,
    item_48_of_two_changes_at_once_only_the_address_whose_link_was_pressed_wins,
    the_former_address_undoes_it_whatever_came_after,
    a_change_that_waits_ends_with_a_new_password_and_when_it_is_called_off,
    whoever_moved_an_account_cannot_take_it_back_when_its_owner_has_moved_it_on,
    nothing_tells_whether_the_new_address_is_taken,
    a_link_ends_with_its_time_with_a_later_wish_and_with_its_use,
    an_account_is_deleted_after_its_grace_with_all_that_is_known_of_its_person,
    what_was_under_way_when_an_account_was_deleted_brings_nothing_back,
    a_deletion_is_called_off_here_by_its_link_and_by_signing_in,
    who_has_not_confirmed_is_reminded_once_and_forgotten_after_a_week,
    nobody_is_reminded_of_what_is_done_or_overtaken,
    everything_is_taken_along_by_who_shows_the_password,
    a_program_does_all_of_it_too,
);

const ANN: &str = "ann@example.org";
const NEW: &str = "ann@example.net";
const DAY: Duration = Duration::from_hours(24);

async fn mail_with(app: &TestApp, email: &str, path: &str) -> Letter {
    app.settle().await;
    let mails = app.mails_to(email).await;
    let found = mails.iter().rev().find(|mail| mail.text.contains(path));
    found.unwrap_or_else(|| panic!("no mail to {email} with {path}: {mails:?}")).clone()
}

async fn ask(client: &HttpClient, email: &str) -> Answer {
    client.post("/account/email", &[("email", email), ("current_password", PASSWORD)]).await
}

async fn email_of(client: &HttpClient) -> Option<String> {
    let me = client.get("/api/v1/me").await;
    (me.status == 200).then(|| me.json()["user"]["email"].as_str().unwrap().to_owned())
}

async fn activity(client: &HttpClient) -> Vec<String> {
    let activity = client.get("/api/v1/me/activity").await.json();
    activity["items"].as_array().unwrap().iter().map(|row| row["type"].as_str().unwrap().to_owned()).collect()
}

async fn item_48_an_address_changes_by_the_link_in_its_mail_and_the_former_one_is_told(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    let wrong = [("email", "nobody"), ("current_password", OTHER_PASSWORD)];
    let wrong = ann.post("/account/email", &wrong).await;
    assert!(wrong.status == 422 && wrong.body.contains("value=\"nobody\""), "{}", wrong.body);
    assert!(wrong.body.contains("not your current password") && wrong.body.contains("name@example.org"));
    let same = ask(&ann, "Ann@Example.ORG").await;
    assert!(same.status == 422 && same.body.contains("your address already"), "{}", same.body);
    let asked = ask(&ann, NEW).await;
    assert_eq!((asked.status, asked.header("location")), (303, "/account/email"));
    app.settle().await;
    let page = ann.get("/account/email").await.body;
    assert!(page.contains(NEW) && page.contains("data-delivery=\"sent\""), "{page}");
    assert!(ann.get("/account/email/status").await.body.contains("sent"));
    assert_eq!(email_of(&ann).await.as_deref(), Some(ANN), "nothing has changed yet");

    let mail = mail_with(&app, NEW, "/email/confirm?token=").await;
    assert!(!mail.text.contains("Ann"), "who asked chose that name: {}", mail.text);
    let token = mail.token().unwrap();
    let elsewhere = app.client();
    let page = elsewhere.get(&format!("/email/confirm?token={token}")).await;
    assert!(page.status == 200 && page.body.contains(NEW), "{}", page.body);
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(email_of(&ann).await.as_deref(), Some(ANN), "looking changes nothing");
    let fields = [("token", token.as_str())];
    let (first, second) =
        tokio::join!(elsewhere.post("/email/confirm", &fields), elsewhere.post("/email/confirm", &fields));
    let statuses = [first.status, second.status];
    assert!(statuses.contains(&303) && statuses.iter().all(|status| [303, 422].contains(status)), "{statuses:?}");
    assert_eq!(elsewhere.post("/email/confirm", &[("token", &token)]).await.status, 303, "pressed once more");
    let done = elsewhere.get(&format!("/email/confirm?token={token}")).await;
    assert!(done.status == 200 && done.body.contains("Your account has this address"), "{}", done.body);
    within("this session to know", async || email_of(&ann).await.as_deref() == Some(NEW)).await;
    assert_eq!(app.client().login(ANN, PASSWORD).await.status, 422);
    assert_eq!(app.client().login(NEW, PASSWORD).await.status, 303);
    let told = mail_with(&app, ANN, "/email/undo?token=").await;
    assert!(told.subject.contains("email address was changed") && told.text.contains("Ann"), "{}", told.text);
    app.settle().await;
    let all = app.mails_to(ANN).await;
    assert_eq!(all.iter().filter(|mail| mail.text.contains("/email/undo")).count(), 1, "told once");
    assert!(activity(&ann).await.contains(&"email.changed".to_owned()));
    assert!(ann.get("/account/activity").await.body.contains("Email address changed"));
    for table in ["outbox", "login_log", "email_changes", "users"] {
        let dump = app.dump(table).await;
        assert!(!dump.contains(&token.to_lowercase()), "the token is in the mail alone, not in {table}");
        assert!(table != "outbox" || !dump.contains("@example.net"), "no address in an event");
    }
}

/// Asked for at the same time, and both links pressed at the same time, as often as chance may have it otherwise.
async fn item_48_of_two_changes_at_once_only_the_address_whose_link_was_pressed_wins(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    for round in 0..8 {
        let wishes = ["one", "two"].map(|name| format!("{name}{round}@example.net"));
        let (first, second) = tokio::join!(ask(&ann, &wishes[0]), ask(&ann, &wishes[1]));
        assert_eq!((first.status, second.status), (303, 303));
        app.settle().await;
        // whichever came first may have been overtaken before its mail went
        let mut links = Vec::new();
        for wish in &wishes {
            let link = app.mails_to(wish).await.iter().find_map(Letter::token);
            links.extend(link.map(|token| (wish, token)));
        }
        assert!(!links.is_empty());
        let press = links.iter().map(|(wish, token)| {
            let client = app.client();
            async move { (wish, client.post("/email/confirm", &[("token", token)]).await.status) }
        });
        let pressed = futures_util::future::join_all(press).await;
        let won: Vec<&String> = pressed.iter().filter(|(_, status)| *status == 303).map(|(wish, _)| **wish).collect();
        assert!(pressed.iter().all(|(_, status)| [303, 422].contains(status)), "{pressed:?}");
        assert_eq!(won.len(), 1, "{pressed:?}");
        within("this session to know", async || email_of(&ann).await.as_ref() == Some(won[0])).await;
        let lost = wishes.iter().find(|wish| *wish != won[0]).unwrap();
        assert_eq!(app.client().login(lost, PASSWORD).await.status, 422, "nobody has it");
        assert_eq!(app.client().login(won[0], PASSWORD).await.status, 303);
        app.settle().await;
    }
}

async fn the_former_address_undoes_it_whatever_came_after(app: TestApp) {
    let thief = app.signed_in_client(ANN).await;
    ask(&thief, NEW).await;
    let token = mail_with(&app, NEW, "/email/confirm").await.token().unwrap();
    assert_eq!(thief.post("/email/confirm", &[("token", &token)]).await.status, 303);
    let undo = mail_with(&app, ANN, "/email/undo").await.token().unwrap();
    // moved once more, and a third time in the making
    within("this session to know", async || email_of(&thief).await.as_deref() == Some(NEW)).await;
    ask(&thief, "thief@example.com").await;
    let next = mail_with(&app, "thief@example.com", "/email/confirm").await.token().unwrap();
    assert_eq!(thief.post("/email/confirm", &[("token", &next)]).await.status, 303);
    within("this session to know", async || email_of(&thief).await.as_deref() == Some("thief@example.com")).await;
    app.settle().await;
    let told = app.mails_to(NEW).await;
    assert!(!told.iter().any(|mail| mail.text.contains("/email/undo")), "one that came by a change that can be undone");
    ask(&thief, "third@example.com").await;
    let third = mail_with(&app, "third@example.com", "/email/confirm").await.token().unwrap();

    let owner = app.client();
    let page = owner.get(&format!("/email/undo?token={undo}")).await;
    assert!(page.status == 200 && page.body.contains(ANN), "{}", page.body);
    let undone = owner.post("/email/undo", &[("token", &undo)]).await;
    assert_eq!(undone.status, 303);
    let reset = undone.header("location").to_owned();
    assert!(reset.starts_with("/reset?token="), "{reset}");
    let page = owner.get(&reset).await;
    assert!(page.status == 200 && page.body.contains("this address again"), "{}", page.body);
    within("every session to end", async || email_of(&thief).await.is_none()).await;
    for (path, token) in
        [("/email/confirm", &third), ("/email/confirm", &next), ("/email/confirm", &token), ("/email/undo", &undo)]
    {
        let status = app.client().post(path, &[("token", token)]).await.status;
        assert_eq!(status, 422, "whoever took it is left with no link: {path}");
    }
    let token = reset.split_once('=').unwrap().1;
    let set = owner.post("/reset", &[("token", token), ("password", OTHER_PASSWORD)]).await;
    assert_eq!(set.status, 303, "{}", set.body);
    assert_eq!(app.client().login(ANN, OTHER_PASSWORD).await.status, 303);
    assert_eq!(app.client().login(ANN, PASSWORD).await.status, 422);
    assert_eq!(app.client().login("thief@example.com", OTHER_PASSWORD).await.status, 422);
    app.settle().await;
    let mails = app.mails_to("thief@example.com").await;
    assert!(!mails.iter().any(|mail| mail.text.contains("/email/undo")), "an undoing is no change");
}

/// Somebody who knew the password has asked for another address; the link in the mail to it opens nothing after each of these.
async fn a_change_that_waits_ends_with_a_new_password_and_when_it_is_called_off(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    // so that what is new can be told from what is not
    assert_eq!(ann.login(ANN, PASSWORD).await.status, 303);
    for (nth, act) in ["not me", "withdrawn", "withdrawn by a program", "forgotten", "changed"].into_iter().enumerate()
    {
        let thief = app.client();
        let form = [("email", ANN), ("password", PASSWORD)];
        let login = thief.posting("/login").header("user-agent", format!("thief/{nth}")).form(&form);
        assert_eq!(thief.send(login).await.status, 303, "{act}");
        let new = format!("thief{nth}@example.net");
        assert_eq!(ask(&thief, &new).await.status, 303, "{act}");
        let link = mail_with(&app, &new, "/email/confirm").await.token().unwrap();
        let owner = app.client();
        match act {
            "not me" => {
                // one device may have two sessions, and be told of once
                let twice = app.client();
                let form = [("email", ANN), ("password", PASSWORD)];
                let login = twice.posting("/login").header("user-agent", format!("thief/{nth}")).form(&form);
                assert_eq!(twice.send(login).await.status, 303);
                let token = mail_with(&app, ANN, "/login/not-me").await.token().unwrap();
                assert_eq!(owner.post("/login/not-me", &[("token", &token)]).await.status, 303);
                within("both sessions to end", async || {
                    email_of(&thief).await.is_none() && email_of(&twice).await.is_none()
                })
                .await;
                // once more when the link to a new password has expired
                let resets = async || {
                    app.settle().await;
                    let mails = app.mails_to(ANN).await;
                    mails.iter().filter(|mail| mail.text.contains("/reset?token=")).count()
                };
                assert_eq!(resets().await, 1);
                app.clock().advance(Duration::from_mins(31));
                assert_eq!(owner.post("/login/not-me", &[("token", &token)]).await.status, 303);
                assert_eq!(resets().await, 2);
            }
            "withdrawn" => {
                assert_eq!(owner.login(ANN, PASSWORD).await.status, 303);
                let page = owner.get("/account/email").await.body;
                assert!(page.contains(&new) && page.contains("/account/email/withdraw"), "{page}");
                let withdrawn = owner.post("/account/email/withdraw", &[]).await;
                assert_eq!((withdrawn.status, withdrawn.header("location")), (303, "/account/email"));
                let page = owner.get("/account/email").await.body;
                assert!(!page.contains(&new) && page.contains("called off"), "{page}");
            }
            "withdrawn by a program" => {
                assert_eq!(owner.login(ANN, PASSWORD).await.status, 303);
                let withdraw = owner.http.delete(format!("{}/api/v1/me/email", app.url));
                let withdraw = withdraw.header("sec-fetch-site", "same-origin");
                assert_eq!(owner.send(withdraw).await.status, 204);
            }
            "forgotten" => {
                owner.post("/forgot", &[("email", ANN)]).await;
                let token = mail_with(&app, ANN, "/reset?token=").await.token().unwrap();
                assert_eq!(owner.post("/reset", &[("token", &token), ("password", PASSWORD)]).await.status, 303);
            }
            _ => {
                assert_eq!(owner.login(ANN, PASSWORD).await.status, 303);
                let fields = [("current_password", PASSWORD), ("password", OTHER_PASSWORD)];
                assert_eq!(owner.post("/account/password", &fields).await.status, 303);
            }
        }
        assert_eq!(app.client().get(&format!("/email/confirm?token={link}")).await.status, 404, "{act}");
        assert_eq!(app.client().post("/email/confirm", &[("token", &link)]).await.status, 422, "{act}");
        assert_eq!(app.client().login(&new, PASSWORD).await.status, 422, "{act}");
    }
    app.settle().await;
}

async fn whoever_moved_an_account_cannot_take_it_back_when_its_owner_has_moved_it_on(app: TestApp) {
    let owner = app.signed_in_client(ANN).await;
    let thief = app.client();
    assert_eq!(thief.login(ANN, PASSWORD).await.status, 303);
    ask(&thief, NEW).await;
    let token = mail_with(&app, NEW, "/email/confirm").await.token().unwrap();
    assert_eq!(thief.post("/email/confirm", &[("token", &token)]).await.status, 303);
    let undo = mail_with(&app, ANN, "/email/undo").await.token().unwrap();
    // the owner's session lives on, so the owner moves it back instead of undoing it
    within("this session to know", async || email_of(&owner).await.as_deref() == Some(NEW)).await;
    ask(&owner, ANN).await;
    let token = mail_with(&app, ANN, "/email/confirm").await.token().unwrap();
    assert_eq!(owner.post("/email/confirm", &[("token", &token)]).await.status, 303);
    app.settle().await;
    let told = app.mails_to(NEW).await;
    assert!(!told.iter().any(|mail| mail.text.contains("/email/undo")), "{told:?}");
    assert_eq!(delete(&thief).await.status, 303);
    // what came first can still be undone, with all that whoever knew the password has done
    assert_eq!(app.client().post("/email/undo", &[("token", &undo)]).await.status, 303);
    assert_eq!(app.client().login(ANN, PASSWORD).await.status, 422, "whoever moved it knew this password");
    assert!(!app.dump("users").await.contains(NEW));
    let (scheduled,): (i64,) =
        app.db().query("select count(*) from users where deletes_at is not null").one().await.unwrap();
    assert_eq!(scheduled, 0);
    app.settle().await;
}

async fn nothing_tells_whether_the_new_address_is_taken(app: TestApp) {
    let bob = app.signed_in_client("bob@example.org").await;
    app.client().register("waits@example.org", PASSWORD, "Eve").await;
    let mut shown = Vec::new();
    for email in ["bob@example.org", "waits@example.org", "free@example.org"] {
        let ann = app.signed_in_client(&format!("ann.{email}")).await;
        let answer = ask(&ann, email).await;
        app.settle().await;
        let page =
            ann.get("/account/email").await.body.replace(email, "ADDRESS").replace(&format!("ann.{email}"), "ANN");
        let page = page.replace("ann.ADDRESS", "ANN");
        // whose page it is
        let page: String = page
            .lines()
            .filter(|line| !line.contains("data-account") && !line.contains("\"csrf\""))
            .map(|line| format!("{line}\n"))
            .collect();
        // it is later for each of them
        let timeless = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
        let status = ann.get("/account/email/status").await.body;
        shown.push((answer.status, answer.body, timeless(&page), timeless(&status)));
    }
    assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:#?}");
    let told = app.mails_to("bob@example.org").await.pop().unwrap();
    assert!(told.subject.contains("already have an account") && told.token().is_none(), "{}", told.text);
    assert_eq!(email_of(&bob).await.as_deref(), Some("bob@example.org"));
    // who registers it meanwhile has it
    let link = mail_with(&app, "free@example.org", "/email/confirm").await.token().unwrap();
    app.signed_in_client("free@example.org").await;
    assert_eq!(app.client().get(&format!("/email/confirm?token={link}")).await.status, 404);
    assert_eq!(app.client().post("/email/confirm", &[("token", &link)]).await.status, 422);
}

async fn a_link_ends_with_its_time_with_a_later_wish_and_with_its_use(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    ask(&ann, NEW).await;
    let late = mail_with(&app, NEW, "/email/confirm").await.token().unwrap();
    ask(&ann, "other@example.net").await;
    let other = mail_with(&app, "other@example.net", "/email/confirm").await.token().unwrap();
    assert_eq!(app.client().post("/email/confirm", &[("token", &late)]).await.status, 422, "overtaken");
    app.clock().advance(app.app.accounts.lifetimes.confirm);
    assert_eq!(app.client().post("/email/confirm", &[("token", &other)]).await.status, 422, "too late");
    let ann = app.client();
    assert_eq!(ann.login(ANN, PASSWORD).await.status, 303);
    ask(&ann, NEW).await;
    let right = mail_with(&app, NEW, "/email/confirm").await.token().unwrap();
    assert_ne!(right, late);
    assert_eq!(ann.post("/email/confirm", &[("token", &right)]).await.status, 303);
    let undo = mail_with(&app, ANN, "/email/undo").await.token().unwrap();
    assert_eq!(app.client().get(&format!("/email/undo?token={right}")).await.status, 404, "for one purpose each");
    assert_eq!(app.client().get(&format!("/email/confirm?token={undo}")).await.status, 404);
    app.clock().advance(app.app.accounts.lifetimes.email_undo);
    assert_eq!(app.client().post("/email/undo", &[("token", &undo)]).await.status, 422, "too late");
    app.purge().await;
    assert_eq!(app.dump("email_changes").await, "");
    app.settle().await;
}

async fn delete(client: &HttpClient) -> Answer {
    client.post("/account/delete", &[("current_password", PASSWORD)]).await
}

async fn an_account_is_deleted_after_its_grace_with_all_that_is_known_of_its_person(app: TestApp) {
    let bob = app.signed_in_client("bob@example.org").await;
    let ann = app.signed_in_client(ANN).await;
    let phone = app.client();
    phone.login(ANN, PASSWORD).await;
    app.client().login(ANN, OTHER_PASSWORD).await;
    app.client().post("/forgot", &[("email", ANN)]).await;
    ask(&ann, NEW).await;
    let page = ann.get("/account/delete").await;
    assert!(page.status == 200 && page.body.contains("14 days"), "{}", page.body);
    let wrong = ann.post("/account/delete", &[("current_password", OTHER_PASSWORD)]).await;
    assert!(wrong.status == 422 && wrong.body.contains("not your current password"), "{}", wrong.body);
    let (first, second) = tokio::join!(delete(&ann), delete(&ann));
    assert_eq!((first.status, first.header("location"), second.status), (303, "/account", 303));
    let page = ann.get("/account").await.body;
    assert!(page.contains("will be deleted on") && page.contains("/account/delete/undo"), "{page}");
    assert_eq!(ann.get("/account/delete").await.status, 303);
    within("the others to end", async || email_of(&phone).await.is_none()).await;
    app.settle().await;
    let mails = app.mails_to(ANN).await;
    let told: Vec<&Letter> = mails.iter().filter(|mail| mail.text.contains("/account/restore?token=")).collect();
    assert!(told.len() == 1 && told[0].subject.contains("will be deleted"), "{told:?}");

    app.clock().advance(app.app.accounts.lifetimes.deletion_grace.checked_sub(Duration::from_mins(1)).unwrap());
    app.settle().await;
    assert!(app.dump("users").await.contains(ANN), "a minute before");
    app.clock().advance(Duration::from_mins(1));
    app.settle().await;
    for table in ["users", "sessions", "registrations", "resets", "email_changes"] {
        let dump = app.dump(table).await;
        assert!(!dump.contains("ann@"), "{table}: {dump}");
    }
    let log = app.dump("login_log").await;
    let rows: Vec<&str> = log.lines().filter(|row| row.contains("login.failed")).collect();
    assert!(rows.len() == 1 && !rows[0].contains("127.0.0.1") && !rows[0].contains("bellhop-test"), "{rows:?}");
    assert!(log.contains("127.0.0.1"), "bob's stays: {log}");
    assert_eq!(email_of(&ann).await, None);
    assert_eq!(app.client().login(ANN, PASSWORD).await.status, 422);
    let restore = told[0].token().unwrap();
    assert_eq!(app.client().get(&format!("/account/restore?token={restore}")).await.status, 404);
    let deleted = "select count(*) from outbox where type = 'user.deleted'";
    assert_eq!(app.db().query(deleted).one::<(i64,)>().await.unwrap().0, 1, "once");
    app.signed_in_client(ANN).await;
    assert!(app.dump("users").await.contains("bob@example.org"));
    drop(bob);
}

/// A sign-in that was refused while the account was there, and whose row is written when it is there no more, or at that moment.
async fn what_was_under_way_when_an_account_was_deleted_brings_nothing_back(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    let user: uuid::Uuid = ann.get("/api/v1/me").await.json()["user"]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(delete(&ann).await.status, 303);
    app.settle().await;
    app.clock().advance(app.app.accounts.lifetimes.deletion_grace);
    app.settle().await;
    let origin = |ip: &str| Origin { ip: ip.parse().unwrap(), user_agent: "late/1".to_owned() };
    let late = Event::LoginFailed {
        user: Some(user),
        attempted: "0123456789abcdef0123456789abcdef".to_owned(),
        reason: Refusal::WrongPassword,
        refusals: 1,
        origin: origin("198.51.100.9"),
    };
    let stranger = Event::LoginFailed {
        user: None,
        attempted: "fedcba9876543210fedcba9876543210".to_owned(),
        reason: Refusal::UnknownAddress,
        refusals: 1,
        origin: origin("198.51.100.8"),
    };
    let mut tx = app.db().begin().await.unwrap();
    for event in [&late, &stranger] {
        outbox::append(&mut tx, app.clock(), event).await.unwrap();
    }
    tx.commit().await.unwrap();
    app.settle().await;
    let log = app.dump("login_log").await;
    let rows: Vec<&str> = log.lines().filter(|row| row.contains("login.failed")).collect();
    assert_eq!(rows.len(), 2, "{log}");
    for personal in ["198.51.100.9", "0123456789abcdef0123456789abcdef"] {
        assert!(!log.contains(personal), "{personal}: {log}");
    }
    assert!(log.contains("198.51.100.8") && log.contains("fedcba9876543210"), "nobody's stays as it is: {log}");
    // one that was written while the account went
    let mut tx = app.db().begin().await.unwrap();
    tx.query("update login_log set ip = '198.51.100.9' where user_id = $1").bind(user).execute().await.unwrap();
    outbox::append(&mut tx, app.clock(), &Event::UserDeleted { user }).await.unwrap();
    tx.commit().await.unwrap();
    app.settle().await;
    assert!(!app.dump("login_log").await.contains("198.51.100.9"));
}

async fn a_deletion_is_called_off_here_by_its_link_and_by_signing_in(app: TestApp) {
    let grace = app.app.accounts.lifetimes.deletion_grace;
    let ann = app.signed_in_client(ANN).await;
    let is_due = async |client: &HttpClient| client.get("/account").await.body.contains("will be deleted on");
    // here
    delete(&ann).await;
    assert!(is_due(&ann).await);
    assert_eq!(ann.post("/account/delete/undo", &[]).await.status, 303);
    assert!(ann.get("/account").await.body.contains("is called off"));
    assert!(!is_due(&ann).await);
    // by its link, which calls off no other one
    app.clock().advance(Duration::from_mins(1));
    delete(&ann).await;
    let old = mail_with(&app, ANN, "/account/restore").await.token().unwrap();
    let elsewhere = app.client();
    let page = elsewhere.get(&format!("/account/restore?token={old}")).await;
    assert!(page.status == 200 && page.body.contains("Keep your account?"), "{}", page.body);
    assert_eq!(elsewhere.post("/account/restore", &[("token", &old)]).await.status, 303);
    assert!(!is_due(&ann).await);
    assert_eq!(elsewhere.post("/account/restore", &[("token", &old)]).await.status, 422, "used");
    app.clock().advance(Duration::from_mins(1));
    delete(&ann).await;
    app.settle().await;
    assert_eq!(elsewhere.post("/account/restore", &[("token", &old)]).await.status, 422, "of another deletion");
    assert!(is_due(&ann).await);
    // by signing in
    let phone = app.client();
    assert_eq!(phone.login(ANN, PASSWORD).await.status, 303);
    assert!(phone.get("/account").await.body.contains("is called off"));
    assert!(!is_due(&phone).await);
    app.settle().await;
    let log = activity(&phone).await;
    assert_eq!(log.iter().filter(|kind| *kind == "user.restored").count(), 3, "{log:?}");
    assert_eq!(log.iter().filter(|kind| *kind == "user.deletion_scheduled").count(), 3, "{log:?}");
    // what was scheduled is due, and meets an account that stays
    app.clock().advance(grace + DAY);
    app.settle().await;
    assert_eq!(app.client().login(ANN, PASSWORD).await.status, 303);
}

async fn who_has_not_confirmed_is_reminded_once_and_forgotten_after_a_week(app: TestApp) {
    let client = app.client();
    client.register(ANN, PASSWORD, "Ann").await;
    app.settle().await;
    let link = app.mails_to(ANN).await[0].token().unwrap();
    app.clock().advance(DAY.checked_sub(Duration::from_mins(1)).unwrap());
    app.settle().await;
    assert_eq!(app.mails_to(ANN).await.len(), 1);
    app.clock().advance(Duration::from_mins(2));
    assert_eq!(client.get(&format!("/confirm?token={link}")).await.status, 404, "its time is over");
    app.settle().await;
    let mails = app.mails_to(ANN).await;
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert!(mails[1].subject.contains("still waits") && !mails[1].text.contains("Ann"), "{}", mails[1].text);
    assert_eq!(mails[1].token(), Some(link.clone()), "the same link, which works again");
    assert_eq!(client.get(&format!("/confirm?token={link}")).await.status, 200);
    app.clock().advance(DAY * 5);
    app.settle().await;
    assert_eq!(app.mails_to(ANN).await.len(), 2, "once");
    app.clock().advance(DAY);
    app.purge().await;
    assert_eq!(app.dump("registrations").await, "");
    assert_eq!(client.get(&format!("/confirm?token={link}")).await.status, 404);
    // the address is free; what was published a week ago is purged too, so that nothing is left to count by
    let again = app.client();
    again.register(ANN, PASSWORD, "Ann").await;
    within("the mail", async || app.mails_to(ANN).await.len() == 3).await;
    let token = app.mails_to(ANN).await[2].token().unwrap();
    assert_eq!(again.post("/confirm", &[("token", &token)]).await.status, 303);
}

async fn nobody_is_reminded_of_what_is_done_or_overtaken(app: TestApp) {
    app.signed_in_client("done@example.org").await;
    // of a taken address
    app.client().register("done@example.org", PASSWORD, "Eve").await;
    // twice: of the later one alone
    app.client().register("twice@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    app.clock().advance(Duration::from_mins(1));
    app.client().register("twice@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    let before = [app.mails_to("done@example.org").await.len(), app.mails_to("twice@example.org").await.len()];
    assert_eq!(before, [2, 2]);
    app.clock().advance(DAY);
    app.settle().await;
    let after = [app.mails_to("done@example.org").await.len(), app.mails_to("twice@example.org").await.len()];
    assert_eq!(after, [2, 3]);
    let last = app.mails_to("twice@example.org").await;
    assert_eq!(last[2].token(), last[1].token());
}

async fn everything_is_taken_along_by_who_shows_the_password(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    for _ in 0..3 {
        app.client().login(ANN, OTHER_PASSWORD).await;
    }
    ask(&ann, NEW).await;
    app.settle().await;
    let file = ann.get("/account/export").await;
    assert_eq!(file.header("content-type"), "application/json");
    assert!(file.header("content-disposition").contains("attachment"), "{:?}", file.headers);
    let all = file.json();
    assert_eq!((&all["account"]["email"], &all["account"]["name"]), (&json!(ANN), &json!("Ann")));
    assert_eq!(all["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(all["email_changes"][0]["email"], json!(NEW));
    assert_eq!(all["devices"].as_array().unwrap().len(), 2, "its cookie, and its program and network");
    assert!(all["devices"][0]["mark"].as_str().unwrap().len() == 64 && all["devices"][0]["seen_at"].is_string());
    assert_eq!(all["warned_sign_ins"], json!([]));
    assert_eq!(all["activity"].as_array().unwrap().len(), 4, "{all}");
    assert!(!file.body.contains("argon2") && !file.body.contains("password_hash"), "{}", file.body);
    // later it asks first
    app.clock().advance(app.app.accounts.lifetimes.fresh_for);
    let form = ann.get("/account/export").await;
    assert!(form.status == 200 && form.body.contains("autocomplete=\"current-password\""), "{}", form.body);
    let stale = ann.get("/api/v1/me/export").await;
    assert_eq!((stale.status, &stale.json()["code"]), (401, &json!("password-needed")));
    let wrong = ann.post("/account/export", &[("current_password", OTHER_PASSWORD)]).await;
    assert_eq!((wrong.status, wrong.header("content-type").contains("html")), (422, true));
    let right = ann.post("/account/export", &[("current_password", PASSWORD)]).await;
    assert_eq!(right.json()["account"]["email"], json!(ANN));
    assert_eq!(ann.get("/api/v1/me/export").await.status, 200, "shown just now");
    // a log of many pages
    let many = app.app.accounts.clone();
    let user: uuid::Uuid = all["account"]["id"].as_str().unwrap().parse().unwrap();
    let mut tx = app.db().begin().await.unwrap();
    for nth in 0..450_i64 {
        tx.query(
            "insert into login_log (id, type, user_id, at, ip, user_agent) values ($1, 'login.failed', $2, $3, '192.0.2.9', '')",
        )
        .bind(many.clock.new_id())
        .bind(user)
        .bind(many.clock.now() - Duration::from_secs(u64::try_from(nth).unwrap()))
        .execute_deferred()
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    let long = ann.get("/api/v1/me/export").await.json();
    let ids: std::collections::BTreeSet<&str> =
        long["activity"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), long["activity"].as_array().unwrap().len()), (454, 454));
    assert_eq!(app.client().get("/account/export").await.status, 303);
}

async fn a_program_does_all_of_it_too(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    let wrong = json!({ "email": "nobody", "current_password": OTHER_PASSWORD });
    let wrong = ann.post_json("/api/v1/me/email", &wrong).await;
    assert_eq!((wrong.status, wrong.json()["errors"].as_array().unwrap().len()), (422, 2));
    let asked = ann.post_json("/api/v1/me/email", &json!({ "email": NEW, "current_password": PASSWORD })).await;
    assert_eq!((asked.status, &asked.json()["status"]), (202, &json!("confirmation_pending")));
    let token = mail_with(&app, NEW, "/email/confirm").await.token().unwrap();
    let anybody = app.client();
    assert_eq!(anybody.post_json("/api/v1/email/confirm", &json!({ "token": "x" })).await.status, 422);
    assert_eq!(anybody.post_json("/api/v1/email/confirm", &json!({ "token": token })).await.status, 204);
    let undo = mail_with(&app, ANN, "/email/undo").await.token().unwrap();
    assert_eq!(anybody.post_json("/api/v1/email/undo", &json!({ "token": undo })).await.status, 204);
    within("every session to end", async || email_of(&ann).await.is_none()).await;
    assert_eq!(ann.login(ANN, PASSWORD).await.status, 422, "whoever moved it knew this one");
    anybody.post_json("/api/v1/forgot", &json!({ "email": ANN })).await;
    let reset = mail_with(&app, ANN, "/reset?token=").await.token().unwrap();
    let set = anybody.post_json("/api/v1/reset", &json!({ "token": reset, "password": PASSWORD })).await;
    assert_eq!(set.status, 204, "{}", set.body);
    assert_eq!(ann.login(ANN, PASSWORD).await.status, 303);
    assert_eq!(ann.post_json("/api/v1/me/proof", &json!({ "current_password": OTHER_PASSWORD })).await.status, 422);
    assert_eq!(ann.post_json("/api/v1/me/proof", &json!({ "current_password": PASSWORD })).await.status, 204);
    assert_eq!(ann.get("/api/v1/me/export").await.json()["account"]["email"], json!(ANN));
    let remove = async |password: &str| {
        let request = ann.http.delete(format!("{}/api/v1/me", ann.url)).header("sec-fetch-site", "same-origin");
        ann.send(request.json(&json!({ "current_password": password }))).await
    };
    assert_eq!(remove(OTHER_PASSWORD).await.status, 422);
    let scheduled = remove(PASSWORD).await;
    assert_eq!(scheduled.status, 202);
    let at: bellhop::clock::Timestamp = scheduled.json()["deleted_at"].as_str().unwrap().parse().unwrap();
    let left = at - app.clock().now();
    assert!(left > chrono::TimeDelta::days(13) && left <= chrono::TimeDelta::days(14), "{left}");
    assert_eq!(ann.post_json("/api/v1/me/restore", &json!({})).await.status, 204);
    app.clock().advance(Duration::from_hours(15 * 24));
    app.settle().await;
    assert_eq!(app.client().login(ANN, PASSWORD).await.status, 303, "called off");
}

/// Spans are settings, down to seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spans_are_as_the_settings_say() {
    for stack in [Stack::Small, Stack::Large] {
        let app = TestApp::start_with(stack, |options| {
            let lifetimes = &mut options.config.lifetimes;
            (lifetimes.reminder_after, lifetimes.purge_after) = (Duration::from_secs(2), Duration::from_secs(5));
            lifetimes.confirm = Duration::from_secs(90);
        })
        .await;
        app.client().register(ANN, PASSWORD, "Ann").await;
        app.settle().await;
        assert!(app.mails_to(ANN).await[0].text.contains("90 seconds"), "{}", app.mails_to(ANN).await[0].text);
        app.clock().advance(Duration::from_secs(3));
        app.settle().await;
        assert_eq!(app.mails_to(ANN).await.len(), 2);
    }
}
