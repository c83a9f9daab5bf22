#!/usr/bin/env python3
"""Binds a queue of its own to Bellhop's events on RabbitMQ, and prints a line for each event, once.

    python3 examples/bind_a_queue.py amqp://user:password@localhost/ welcome user.confirmed 'login.*'

The queue is called as you say (welcome) and gets what its routing keys let through; docs/messaging.md lists what there is,
and which rights the user needs. Needs pika (Debian: python3-pika). It ends when the connection does: let whatever starts
your services start it again. The queue keeps what comes meanwhile.
"""

import json
import sqlite3
import sys

import pika

EXCHANGE = "bellhop.events"


def main(url, queue, *keys):
    seen = sqlite3.connect(f"{queue}.sqlite")
    seen.execute("create table if not exists seen (id text primary key)")
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    # only looks: the exchange is Bellhop's to make
    channel.exchange_declare(EXCHANGE, passive=True)
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    for key in keys:
        channel.queue_bind(queue, EXCHANGE, routing_key=key)
    channel.basic_qos(prefetch_count=10)
    print(f"{queue} is bound to {EXCHANGE} for {', '.join(keys)}", flush=True)
    for method, properties, body in channel.consume(queue):
        take(seen, json.loads(body))
        # last: who dies before this line gets the message again
        channel.basic_ack(method.delivery_tag)


def take(seen, event):
    if event["dataschema"] != f"urn:bellhop:{event['type']}:1":
        # not acknowledged, so nothing is lost: the program is to be brought up to date
        sys.exit(f"{event['dataschema']} is newer than this program")
    # one transaction for the mark and for what you do about the event, if that is rows: then it is done once, however
    # often the message comes
    with seen:
        if seen.execute("insert or ignore into seen values (?)", (event["id"],)).rowcount == 0:
            return
        print(event["time"], event["type"], json.dumps(event["data"]), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
