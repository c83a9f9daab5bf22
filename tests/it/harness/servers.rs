//! Databases and vhosts on the shared servers.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection as Amqp, ConnectionProperties};
use sqlx::{Connection, PgConnection};

use crate::support::{postgres, rabbit};

#[tokio::test]
async fn every_test_has_a_database_of_its_own() {
    let (first, second) = (postgres::database().await, postgres::database().await);
    for url in [first, second] {
        let mut connection = PgConnection::connect(&url).await.expect("the database answers");
        sqlx::raw_sql("create table rooms (number int)").execute(&mut connection).await.expect("it is empty");
    }
}

#[tokio::test]
async fn every_test_has_a_vhost_of_its_own() {
    let (first, second) = (rabbit::vhost().await, rabbit::vhost().await);
    assert_ne!(first, second);
    let connection = Amqp::connect(&first, ConnectionProperties::default()).await.expect("the broker answers");
    let channel = connection.create_channel().await.expect("a channel");
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("rooms".into(), options, FieldTable::default()).await.expect("it may declare");

    let name = |url: &str| url.rsplit_once('/').expect("a path").1.to_owned();
    assert_eq!(rabbit::ctl(&["-s", "list_queues", "-p", &name(&first), "name"]).await, "rooms");
    assert_eq!(rabbit::ctl(&["-s", "list_queues", "-p", &name(&second), "name"]).await, "");
}
