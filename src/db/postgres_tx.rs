//! A transaction on `PostgreSQL` that begins late and sends together what needs no result.
//!
//! Each statement is a trip to the server, and a change of processes on either side costs more than most of them. A
//! statement whose result nobody needs is therefore kept until somebody waits for another one's, or until the commit. When
//! nobody waited for any, all of them go as one statement, which is a transaction by itself: a login writes in one trip
//! instead of six (docs/performance.md).

use std::fmt::{self, Write as _};

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Executor as _, Postgres, Transaction, Type};

use super::condition::Condition;
use super::deferred::push_renumbered;
use super::postgres::Server;

/// A value on its way into the arguments of a statement, at whatever place that has by then.
type Bind = Box<dyn FnOnce(&mut PgArguments) -> Result<(), BoxDynError> + Send>;

/// What is bound to the placeholders of one statement.
#[derive(Default)]
pub struct Binds(Vec<Bind>);

impl fmt::Debug for Binds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.0.len())
    }
}

impl Binds {
    pub(super) fn push(&mut self, value: impl for<'q> Encode<'q, Postgres> + Type<Postgres> + Send + 'static) {
        self.0.push(Box::new(move |arguments| arguments.add(value)));
    }

    pub(super) fn into_arguments(self) -> sqlx::Result<PgArguments> {
        let mut arguments = PgArguments::default();
        self.add_to(&mut arguments)?;
        Ok(arguments)
    }

    fn add_to(self, arguments: &mut PgArguments) -> sqlx::Result<()> {
        self.0.into_iter().try_for_each(|bind| bind(arguments)).map_err(sqlx::Error::Encode)
    }
}

/// A transaction that may write.
#[derive(Debug)]
pub struct PostgresTx {
    server: Server,
    /// From the first statement on whose result is needed.
    open: Option<Transaction<'static, Postgres>>,
    /// Not sent yet.
    unsent: Vec<(&'static str, Binds)>,
}

impl PostgresTx {
    pub(super) fn new(server: Server) -> Self {
        PostgresTx { server, open: None, unsent: Vec::new() }
    }

    /// Keeps a statement for later.
    pub(super) fn defer(&mut self, sql: &'static str, binds: Binds) {
        self.unsent.push((sql, binds));
    }

    /// What its results say about the server is remembered there.
    pub(super) fn condition(&self) -> &Condition {
        &self.server.condition
    }

    /// Whether a statement that is prepared in it can be run again after it.
    pub(super) fn keeps_statements(&self) -> bool {
        !self.server.is_pooled()
    }

    /// The connection to run a statement on whose result is needed, after everything before it.
    pub(super) async fn connection(&mut self) -> sqlx::Result<&mut PgConnection> {
        let PostgresTx { server, open, unsent } = self;
        let open = match open {
            Some(open) => open,
            none => none.insert(server.begin().await?),
        };
        for (sql, binds) in unsent.drain(..) {
            let query = sqlx::query_with(sql, binds.into_arguments()?).persistent(!server.is_pooled());
            let done = open.execute(query).await;
            server.condition.note(done)?;
        }
        Ok(open)
    }

    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        // behind a pooler it would be prepared on one server and run on another one
        if self.open.is_none() && !self.server.is_pooled() && are_independent(&self.unsent) {
            let Some((text, arguments)) = as_one(self.unsent)? else { return Ok(()) };
            // safe: texts of the program alone, with nothing added but numbers and names of its own
            let mut connection = self.server.acquire().await?;
            let done = connection.execute(sqlx::query_with(AssertSqlSafe(text), arguments)).await;
            return self.server.condition.note(done).map(drop);
        }
        if self.open.is_none() && self.unsent.is_empty() {
            return Ok(());
        }
        self.connection().await?;
        match self.open {
            Some(open) => self.server.condition.note(open.commit().await),
            None => Ok(()),
        }
    }
}

/// Whether each gives the same whatever the others have done already: parts of one statement do not see each other. They
/// insert or update, and none names the table that another one writes.
fn are_independent(statements: &[(&'static str, Binds)]) -> bool {
    let tables: Option<Vec<&str>> = statements.iter().map(|(sql, _)| written(sql)).collect();
    tables.is_some_and(|tables| {
        tables.iter().enumerate().all(|(at, table)| {
            let others = statements.iter().enumerate().filter(|(other, _)| *other != at);
            others.into_iter().all(|(_, (sql, _))| !words(sql).any(|word| word == *table))
        })
    })
}

/// The table that a statement inserts into or updates.
fn written(sql: &'static str) -> Option<&'static str> {
    let mut words = words(sql);
    match (words.next()?, words.next()?) {
        ("insert", "into") => words.next(),
        ("update", table) => Some(table),
        _ => None,
    }
}

fn words(sql: &'static str) -> impl Iterator<Item = &'static str> {
    sql.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// Statements as parts of the last one, with their arguments; none when there is none.
fn as_one(mut statements: Vec<(&'static str, Binds)>) -> sqlx::Result<Option<(String, PgArguments)>> {
    let (mut text, mut arguments) = (String::new(), PgArguments::default());
    let Some((last, last_binds)) = statements.pop() else { return Ok(None) };
    for (at, (sql, binds)) in statements.into_iter().enumerate() {
        let _ = write!(text, "{} part{at} as (", if at == 0 { "with" } else { "," });
        push_renumbered(&mut text, sql, arguments.len());
        text.push_str(") ");
        binds.add_to(&mut arguments)?;
    }
    push_renumbered(&mut text, last, arguments.len());
    last_binds.add_to(&mut arguments)?;
    Ok(Some((text, arguments)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn independent(statements: &[&'static str]) -> bool {
        are_independent(&statements.iter().map(|sql| (*sql, Binds::default())).collect::<Vec<_>>())
    }

    #[test]
    fn what_one_statement_can_do_is_told_from_what_must_come_after_another() {
        const EVENT: &str = "insert into outbox (id) values ($1)";
        assert!(independent(&["insert into sessions (id) values ($1)", EVENT]));
        assert!(independent(&["update users set name = $1", EVENT]));
        assert!(!independent(&[EVENT, EVENT]), "the same table");
        assert!(!independent(&[EVENT, "insert into log (id) select id from outbox"]), "reads what the other writes");
        assert!(!independent(&["delete from users", EVENT]), "what goes with it is not named");
        assert!(!independent(&["select 1", EVENT]));
        assert!(independent(&[]));
    }

    #[test]
    fn placeholders_are_counted_through() {
        let statement = |sql, values: i64| {
            let mut binds = Binds::default();
            (0..values).for_each(|value| binds.push(value));
            (sql, binds)
        };
        let one = |statements| as_one(statements).unwrap().map(|(text, arguments)| (text, arguments.len()));
        assert_eq!(one(vec![]), None);
        assert_eq!(one(vec![statement("update a set x = $1", 1)]), Some(("update a set x = $1".to_owned(), 1)));
        assert_eq!(
            one(vec![
                statement("update a set x = $2 where y = $1", 2),
                statement("insert into b values ($1)", 1),
                statement("update c", 0)
            ]),
            Some((
                "with part0 as (update a set x = $2 where y = $1) , part1 as (insert into b values ($3)) update c"
                    .to_owned(),
                3
            ))
        );
    }
}
