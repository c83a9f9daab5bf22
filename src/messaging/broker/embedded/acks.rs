//! Acknowledgements that come together go in one transaction.

use std::collections::HashSet;

use anyhow::Context as _;
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::{BatchWrite, Db, Sql};

/// Takes messages that are done out of their queues; false for one whose lease was lost.
#[derive(Debug)]
pub(super) struct Acks(pub(super) Db);

impl BatchWrite for Acks {
    /// The row and the lease.
    type Item = (Uuid, Uuid);
    type Output = bool;

    async fn write(&self, items: &[(Uuid, Uuid)]) -> anyhow::Result<Vec<bool>> {
        let mut tx = self.0.begin().await?;
        let pairs: Vec<[String; 2]> =
            items.iter().map(|(row, lease)| [row, lease].map(|id| id.simple().to_string())).collect();
        let gone: Vec<(Uuid, Uuid)> = tx
            .query(Sql {
                sqlite: "delete from broker_message
                         where (id, lease) in (select unhex(value ->> 0), unhex(value ->> 1) from json_each($1))
                         returning id, lease",
                postgres: "delete from broker_message
                           where (id, lease) in (
                             select (value ->> 0)::uuid, (value ->> 1)::uuid from jsonb_array_elements($1))
                           returning id, lease",
            })
            .bind(Json(pairs))
            .all()
            .await
            .context("cannot take messages out of their queues")?;
        tx.commit().await?;
        let gone: HashSet<_> = gone.into_iter().collect();
        Ok(items.iter().map(|item| gone.contains(item)).collect())
    }
}
