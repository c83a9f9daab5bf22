//! The API's document, against which every answer is held that any test gets from a call.

use std::sync::OnceLock;

use chrono::DateTime;
use serde_json::Value;
use uuid::Uuid;

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::to_value(bellhop::http::openapi(false)).expect("it is JSON"))
}

/// Panics when the document has the call and not this answer to it.
pub fn check(method: &str, path: &str, status: u16, kind: &str, body: &str) {
    let Some(call) = call(&method.to_lowercase(), path) else { return };
    let response = &call["responses"][status.to_string()];
    assert!(response.is_object(), "{method} {path}: {status} is not in the document: {body}");
    let Some(content) = resolved(response).get("content") else {
        assert_eq!(body, "", "{method} {path}: {status} has no body in the document");
        return;
    };
    let schema = &content[kind]["schema"];
    assert!(schema.is_object(), "{method} {path}: {status} is not of the type {kind:?} in the document");
    let value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let wrong = mismatches(schema, &value);
    assert!(wrong.is_empty(), "{method} {path}: {status} is not as in the document: {wrong:#?}\n{body}");
}

/// The operation of a method in lower case, if the document has it.
fn call(method: &str, path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let ours: Vec<&str> = template.split('/').collect();
        ours.len() == parts.len() && ours.iter().zip(&parts).all(|(ours, asked)| ours.starts_with('{') || ours == asked)
    };
    let paths = document()["paths"].as_object().expect("an object");
    paths.iter().find(|(template, _)| fits(template))?.1.get(method)
}

/// What stands where a reference leads, or the value itself.
fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(at) => document().pointer(at.trim_start_matches('#')).unwrap_or_else(|| panic!("{at} leads nowhere")),
        None => value,
    }
}

/// Where a value is not as a schema says (JSON Schema 2020-12, as much of it as the document uses). An object has no property that
/// is not described.
fn mismatches(schema: &'static Value, value: &Value) -> Vec<String> {
    let schema = resolved(schema);
    let mut wrong = Vec::new();
    for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "description" | "example" => {}
            "type" if one_or_more(wanted).any(|kind| is_of(kind, value)) => {}
            "format" if value.is_null() || is_formatted(wanted, value) => {}
            "minimum" if value.as_f64().is_none_or(|number| Some(number) >= wanted.as_f64()) => {}
            "oneOf" => {
                let fitting = wanted.as_array().expect("a list").iter().filter(|one| mismatches(one, value).is_empty());
                if fitting.count() != 1 {
                    wrong.push(format!("{value} is not one of {wanted}"));
                }
            }
            "required" => {
                let names = wanted.as_array().expect("a list").iter().filter_map(Value::as_str);
                wrong.extend(names.filter(|name| value.get(name).is_none()).map(|name| format!("{name} is missing")));
            }
            "items" => wrong.extend(value.as_array().into_iter().flatten().flat_map(|item| mismatches(wanted, item))),
            "properties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    match wanted.get(name) {
                        Some(schema) => {
                            wrong.extend(mismatches(schema, value).iter().map(|how| format!("{name}: {how}")));
                        }
                        None => wrong.push(format!("{name} is not described")),
                    }
                }
            }
            "type" | "format" | "minimum" => wrong.push(format!("{value} is not {keyword} {wanted}")),
            other => panic!("the tests do not know the keyword {other:?}"),
        }
    }
    wrong
}

fn one_or_more(kinds: &Value) -> impl Iterator<Item = &str> {
    kinds.as_str().into_iter().chain(kinds.as_array().into_iter().flatten().filter_map(Value::as_str))
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the tests do not know the type {other:?}"),
    }
}

fn is_formatted(format: &Value, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match format.as_str() {
        Some("uuid") => Uuid::parse_str(text).is_ok(),
        Some("date-time") => DateTime::parse_from_rfc3339(text).is_ok(),
        Some("int32") => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        Some("int64") => value.is_i64() || value.is_u64(),
        _ => panic!("the tests do not know the format {format}"),
    }
}

#[test]
fn an_answer_that_the_document_does_not_have_is_found() {
    let check = |status, kind: &str, body: &str| {
        let (kind, body) = (kind.to_owned(), body.to_owned());
        std::panic::catch_unwind(move || check("GET", "/api/v1/me", status, &kind, &body)).is_ok()
    };
    let (json, problem) = ("application/json", "application/problem+json");
    let me = r#"{"user":{"id":"0198c0de-7a4f-7c1e-9b11-0f4d8a6c2e71","email":"a@b.example","name":"A","locale":"en","created_at":"2026-11-27T10:15:30.123456Z"}}"#;
    let refused = r#"{"type":"about:blank","title":"Unauthorized","status":401,"code":"unauthorized"}"#;
    assert!(check(200, json, me) && check(401, problem, refused));
    assert!(!check(418, problem, refused), "another status");
    assert!(!check(200, "text/html", me) && !check(401, json, refused), "another type");
    for wrong in [
        me.replace("\"email\":\"a@b.example\",", ""),
        me.replace("\"name\"", "\"password_hash\":\"x\",\"name\""),
        me.replace("\"A\"", "7"),
        me.replace("0198c0de-", ""),
        me.replace("2026-11-27T", ""),
    ] {
        assert!(!check(200, json, &wrong), "{wrong}");
    }
    super::openapi::check("GET", "/login", 418, "text/html", "no call of the API");
}
