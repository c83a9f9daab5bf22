//! The private servers keep what was accepted when they are killed.

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection as Amqp, ConnectionProperties};
use sqlx::{Connection, PgConnection};

use crate::support::{postgres, rabbit};

#[tokio::test]
async fn a_killed_postgres_comes_back_with_what_was_committed() {
    let server = postgres::Private::new().await;
    let url = server.url().to_owned();
    let mut connection = PgConnection::connect(&url).await.expect("it answers");
    sqlx::raw_sql("create table rooms (number int); insert into rooms values (7)")
        .execute(&mut connection)
        .await
        .expect("committed");

    server.kill9().await;
    connection.ping().await.expect_err("the session died with the server");
    PgConnection::connect(&url).await.expect_err("nobody listens");

    server.start().await;
    let mut connection = PgConnection::connect(&url).await.expect("the same address answers");
    let number: i32 = sqlx::query_scalar("select number from rooms").fetch_one(&mut connection).await.expect("kept");
    assert_eq!(number, 7);
    let fsync: String = sqlx::query_scalar("show fsync").fetch_one(&mut connection).await.expect("a setting");
    assert_eq!(fsync, "on");

    server.stop().await;
    PgConnection::connect(&url).await.expect_err("nobody listens");
}

#[tokio::test]
async fn a_killed_rabbit_comes_back_with_what_was_confirmed() {
    let broker = rabbit::Private::new().await;
    let connect = || Amqp::connect(broker.url(), ConnectionProperties::default());
    let connection = connect().await.expect("it answers");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("rooms".into(), durable, FieldTable::default()).await.expect("a queue");
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let confirm = channel
        .basic_publish("".into(), "rooms".into(), BasicPublishOptions::default(), b"seven", persistent)
        .await
        .expect("published")
        .await
        .expect("confirmed");
    assert!(confirm.is_ack());

    broker.kill9().await;
    assert!(connect().await.is_err(), "nobody listens");

    broker.start().await;
    let connection = connect().await.expect("the same address answers");
    let channel = connection.create_channel().await.expect("a channel");
    let kept = channel.basic_get("rooms".into(), BasicGetOptions::default()).await.expect("a queue").expect("kept");
    assert_eq!(kept.data, b"seven");
    kept.ack(BasicAckOptions::default()).await.expect("acknowledged");
    assert_eq!(broker.ctl(&["-s", "list_queues", "name"]).await, "rooms");

    broker.stop().await;
    assert!(connect().await.is_err(), "nobody listens");
}
