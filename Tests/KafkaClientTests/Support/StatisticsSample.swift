/// Statistics as librdkafka 2.16 emitted them to a consumer that assigns its partitions and to a transactional producer, on Apache
/// Kafka 4.3: shortened to a few members, with values made by hand.
enum StatisticsSample {
    static let consumer = """
        {"name":"weir-shop-0#consumer-3","client_id":"weir-shop-0","type":"consumer","ts":6784885522,"time":1795273795,"age":2582482,
        "replyq":0,"msg_cnt":0,"metadata_cache_cnt":1,
        "brokers":{"127.0.0.1:9092/1":{"name":"127.0.0.1:9092/1","nodeid":1,"nodename":"127.0.0.1:9092","source":"learned","state":"UP","stateage":2548471,"waitresp_cnt":1,"rxidle":25000,"tx":3,"rx":3,
        "int_latency":{"min":0,"max":0,"p50":0,"cnt":0},
        "rtt":{"min":400,"max":52000,"avg":48000,"sum":960000,"stddev":9000,"p50":50700,"p75":51000,"p99":52000,"outofrange":0,"hdrsize":13424,"cnt":20},
        "throttle":{"min":0,"max":0,"p50":7000000,"cnt":9},
        "req":{"Fetch":20,"Unknown-62?":0},
        "toppars":{"orders-0":{"topic":"orders","partition":0}}},
        "GroupCoordinator/1":{"name":"GroupCoordinator","nodeid":-1,"nodename":"127.0.0.1:9092","source":"logical","state":"INIT","rtt":{"min":0,"max":0,"p50":0,"cnt":0},"toppars":{}}},
        "topics":{"orders":{"topic":"orders","age":2565,"metadata_age":2550,"batchsize":{"min":0,"p50":0,"cnt":0},
        "partitions":{
        "0":{"partition":0,"broker":1,"leader":1,"desired":true,"unknown":false,"fetch_state":"active","query_offset":-1001,
        "next_offset":500,"app_offset":310,"stored_offset":-1001,"commited_offset":-1001,"committed_offset":-1001,"eof_offset":-1001,
        "lo_offset":0,"hi_offset":600,"ls_offset":560,"consumer_lag":-1,"consumer_lag_stored":-1,"rxmsgs":1460,"msgs":1460},
        "1":{"partition":1,"broker":1,"leader":1,"desired":true,"unknown":false,"fetchq_cnt":30,"fetchq_size":900,"fetch_state":"active","query_offset":-1001,
        "next_offset":40,"app_offset":-1001,"stored_offset":-1001,"committed_offset":-1001,"eof_offset":-1001,
        "lo_offset":0,"hi_offset":52,"ls_offset":52,"consumer_lag":-1,"rxmsgs":40,"msgs":40},
        "-1":{"partition":-1,"broker":-1,"leader":-1,"desired":false,"unknown":false,"fetch_state":"none",
        "next_offset":0,"app_offset":-1001,"ls_offset":-1001,"consumer_lag":-1,"rxmsgs":0,"msgs":0}}}},
        "cgrp":{"state":"init","stateage":2582,"join_state":"init","rebalance_reason":"","assignment_size":0},
        "tx":6,"tx_bytes":400,"rx":6,"rx_bytes":1051417,"txmsgs":0,"txmsg_bytes":0,"rxmsgs":1500,"rxmsg_bytes":967253}
        """

    static let producer = """
        {"name":"weir-shop-0#producer-4","client_id":"weir-shop-0","type":"producer","ts":6786385000,"time":1795273797,
        "brokers":{"127.0.0.1:9092/1":{"name":"127.0.0.1:9092/1","nodeid":1,
        "rtt":{"min":300,"max":4000,"p50":900,"p99":4000,"cnt":7}},
        "TxnCoordinator":{"name":"TxnCoordinator","nodeid":1,"rtt":{"min":300,"max":700,"p50":600,"cnt":3}}},
        "topics":{"weir.late":{"topic":"weir.late","partitions":{
        "0":{"partition":0,"broker":1,"leader":1,"next_offset":0,"app_offset":-1001,"ls_offset":-1001,"consumer_lag":-1,"txmsgs":77,"msgs":77},
        "-1":{"partition":-1,"app_offset":-1001,"consumer_lag":-1,"txmsgs":0}}}},
        "eos":{"idemp_state":"Assigned","idemp_stateage":970,"txn_state":"Ready","txn_stateage":6786385,"txn_may_enq":false,
        "producer_id":3,"producer_epoch":0,"epoch_cnt":1},
        "tx":11,"tx_bytes":1207,"rx":11,"rx_bytes":1919,"txmsgs":77,"txmsg_bytes":77,"rxmsgs":0,"rxmsg_bytes":0}
        """
}
