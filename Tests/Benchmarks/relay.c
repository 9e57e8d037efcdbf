/* A bare transactional relay: what Kafka itself costs an exactly-once pipeline on this machine, with nothing judged.
 *
 *   cc -O2 -o relay relay.c -lrdkafka && ./relay BOOTSTRAP FROM TO EVENTS BATCH
 *
 * Reads the partitions 0 to 3 of FROM from their beginnings, writes every record with its key to TO, and commits records and positions
 * in one transaction, by two transactional ids in turn, as weir does. A transaction holds what had come when the one before it was
 * committed, at most BATCH records. Ends after EVENTS records (0: by SIGTERM) and prints events per second from the first commit to the
 * last one, which the first transaction's records are not counted for, and the CPU time of its own per record.
 */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { PARTITIONS = 4, IDS = 2 };
static volatile sig_atomic_t ended;
static void end(int number) { (void)number; ended = 1; }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what, const char *why) {
  fprintf(stderr, "relay: %s: %s\n", what, why);
  exit(1);
}

static void check(rd_kafka_error_t *error, const char *what) {
  if (error) fail(what, rd_kafka_error_string(error));
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
  (void)rk, (void)opaque;
  if (message->err) fail("a record was not delivered", rd_kafka_err2str(message->err));
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *(*settings)[2], int count) {
  char text[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  for (int i = 0; i < count; i++)
    if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text)) fail(settings[i][0], text);
  if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set_dr_msg_cb(conf, delivered);
  rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
  if (!rk) fail("client", text);
  return rk;
}

int main(int count, char **words) {
  if (count != 6) fail("usage", "relay BOOTSTRAP FROM TO EVENTS BATCH");
  const char *from = words[2], *to = words[3];
  const long events = atol(words[4]), batch = atol(words[5]);
  rd_kafka_t *producers[IDS];
  rd_kafka_topic_t *topics[IDS];
  for (int i = 0; i < IDS; i++) {
    char id[32];
    snprintf(id, sizeof id, "relay-%d", i);
    const char *settings[][2] = {{"bootstrap.servers", words[1]}, {"transactional.id", id}, {"linger.ms", "0"},
                                 {"compression.type", "lz4"}, {"partitioner", "murmur2_random"},
                                 {"queue.buffering.max.messages", "1000000"}};
    producers[i] = client(RD_KAFKA_PRODUCER, settings, 6);
    check(rd_kafka_init_transactions(producers[i], 30000), "init_transactions");
    topics[i] = rd_kafka_topic_new(producers[i], to, NULL);
  }
  const char *settings[][2] = {{"bootstrap.servers", words[1]}, {"group.id", "relay"}, {"enable.auto.commit", "false"},
                               {"fetch.wait.max.ms", "10"}, {"isolation.level", "read_committed"}};
  rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, settings, 5);
  rd_kafka_topic_partition_list_t *positions = rd_kafka_topic_partition_list_new(PARTITIONS);
  for (int p = 0; p < PARTITIONS; p++) rd_kafka_topic_partition_list_add(positions, from, p)->offset = 0;
  if (rd_kafka_assign(consumer, positions)) fail("assign", from);
  rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
  rd_kafka_message_t **messages = malloc(batch * sizeof *messages);
  if (!messages) fail("BATCH", "no memory");
  signal(SIGTERM, end);

  long relayed = 0, counted = 0, transactions = 0;
  double first = 0, last = 0;
  while (!ended && (events == 0 || relayed < events)) {
    long taken = rd_kafka_consume_batch_queue(queue, 1, messages, batch);
    if (taken <= 0) continue;
    rd_kafka_t *producer = producers[transactions % IDS];
    rd_kafka_topic_t *topic = topics[transactions % IDS];
    check(rd_kafka_begin_transaction(producer), "begin_transaction");
    long records = 0;
    for (long i = 0; i < taken; i++) {
      rd_kafka_message_t *message = messages[i];
      if (message->err) fail("consume", rd_kafka_message_errstr(message));
      while (rd_kafka_produce(topic, -1, RD_KAFKA_MSG_F_COPY, message->payload, message->len, message->key, message->key_len, NULL)) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(producer, 1);
      }
      positions->elems[message->partition].offset = message->offset + 1;
      records++;
      rd_kafka_message_destroy(message);
    }
    if (rd_kafka_flush(producer, 30000)) fail("flush", "not within 30 s");
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(consumer);
    check(rd_kafka_send_offsets_to_transaction(producer, positions, group, 30000), "send_offsets");
    rd_kafka_consumer_group_metadata_destroy(group);
    check(rd_kafka_commit_transaction(producer, 30000), "commit_transaction");
    relayed += records;
    last = now();
    if (transactions++ == 0) first = last; else counted += records;
  }
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  printf("{\"relayed\":%ld,\"transactions\":%ld,\"events_per_second\":%.0f,\"cpu_us_per_event\":%.2f}\n", relayed, transactions,
         last > first ? counted / (last - first) : 0.0, relayed ? cpu / relayed * 1e6 : 0.0);
  return 0;
}
