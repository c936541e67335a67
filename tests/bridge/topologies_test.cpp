// Several servers, and several hosts.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "bridge/redis_test.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

// A port that nobody has now.
int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

class RedisTopologiesTest : public RedisTest {
 protected:
  // A server of this name on a port, with a folder of its own. The cluster's bus needs a second port, near the first.
  int server(const std::string& name, const std::string& more = "") {
    int port = free_port();
    while (port > 55'000) port = free_port();
    run("mkdir -p " + name);
    start("cd " + name + "; exec ${IPCQ_REDIS_SERVER:-redis-server} --save '' --dir . --port " + std::to_string(port) +
          " " + more);
    EXPECT_TRUE(eventually([&] { return cli(port, "PING") == "PONG\n"; })) << name;
    return port;
  }
  std::string cli(int port, const std::string& command) {
    return run("exec redis-cli -p " + std::to_string(port) + " " + command).out();
  }
  std::set<std::string> add_many(int port, const std::string& stream, int count) {
    std::set<std::string> ids;
    for (int i = 0; i < count; ++i) ids.insert(cli(port, "XADD " + stream + " '*' payload x"));
    return ids;
  }
  bool has_length(int port, const std::string& stream, int count) {
    return eventually([&] { return cli(port, "XLEN " + stream) == std::to_string(count) + "\n"; });
  }
  // Two nodes that share the slots.
  std::pair<int, int> cluster() {
    const std::string options = "--cluster-enabled yes --cluster-require-full-coverage no";
    const int first = server("first", options), second = server("second", options);
    for (const auto& [port, slots] : {std::pair(first, "{0..8191}"), std::pair(second, "{8192..16383}")}) {
      cli(port, "CLUSTER ADDSLOTS " + run(std::string("bash -c 'echo ") + slots + "'").out());
    }
    cli(first, "CLUSTER MEET 127.0.0.1 " + std::to_string(second));
    for (const auto& [port, other] : {std::pair(first, second), std::pair(second, first)}) {
      EXPECT_TRUE(eventually([&, port = port, other = other] {
        return cli(port, "CLUSTER SLOTS").find(std::to_string(other)) != std::string::npos;
      }));
    }
    for (const int port : {first, second}) {
      EXPECT_TRUE(eventually([&] { return cli(port, "CLUSTER INFO").find("cluster_state:ok") != std::string::npos; }));
    }
    return {first, second};
  }
};

TEST_F(RedisTopologiesTest, AFailOverThatSentinelsTellOfIsFollowed) {
  handler_broker();
  const int first = server("first"), second = server("second");
  cli(second, "REPLICAOF 127.0.0.1 " + std::to_string(first));
  ASSERT_TRUE(
      eventually([&] { return cli(second, "INFO replication").find("master_link_status:up") != std::string::npos; }));
  const int sentinel = free_port();
  write("sentinel.conf", "port " + std::to_string(sentinel) + "\nsentinel monitor main 127.0.0.1 " +
                             std::to_string(first) +
                             " 1\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n");
  start("exec ${IPCQ_REDIS_SERVER:-redis-server} sentinel.conf --sentinel");
  const auto where = [&] { return cli(sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME main"); };
  ASSERT_TRUE(eventually([&] { return where().find(std::to_string(first)) != std::string::npos; }));
  ASSERT_TRUE(eventually(
      [&] { return cli(sentinel, "SENTINEL REPLICAS main").find(std::to_string(second)) != std::string::npos; }));

  Command& bridge = start("exec ipcq-redis --redis redis-sentinel://127.0.0.1:1,127.0.0.1:" + std::to_string(sentinel) +
                          "/main --queue work --stream tasks");
  auto ids = add_many(first, "tasks", 20);
  ASSERT_TRUE(has_length(first, "tasks:results", 20)) << bridge.err();
  ASSERT_TRUE(has_length(second, "tasks:results", 20));  // so that nothing is lost
  cli(sentinel, "SENTINEL FAILOVER main");
  ASSERT_TRUE(eventually([&] { return where().find(std::to_string(second)) != std::string::npos; }));
  ASSERT_TRUE(eventually([&] { return cli(second, "ROLE").starts_with("master"); }));
  ids.merge(add_many(second, "tasks", 20));
  ASSERT_TRUE(has_length(second, "tasks:results", 40)) << bridge.err();
  EXPECT_EQ(ids.size(), 40U);
  EXPECT_THAT(bridge.err(), HasSubstr("connected again"));
}

TEST_F(RedisTopologiesTest, ThatNoSentinelKnowsTheServerIsSaid) {
  handler_broker();
  Command& ended = start("exec ipcq-redis --redis redis-sentinel://127.0.0.1:1/main --queue work --wait-for 0.2");
  EXPECT_EQ(ended.exit_code(), 3);
  EXPECT_THAT(ended.err(), HasSubstr("no sentinel tells where the server is; the last one: redis://127.0.0.1:1: "));
}

TEST_F(RedisTopologiesTest, AServerThatBecameAReplicaIsLeft) {
  handler_broker();
  const int first = server("first"), second = server("second");
  Command& bridge =
      start("exec ipcq-redis --redis redis://127.0.0.1:" + std::to_string(first) + " --queue work --stream tasks");
  ASSERT_TRUE(eventually([&] { return is_working(bridge); }));
  cli(first, "REPLICAOF 127.0.0.1 " + std::to_string(second));
  ASSERT_TRUE(eventually([&] {
    return bridge.err().find("READONLY") != std::string::npos ||
           bridge.err().find("connecting again") != std::string::npos;
  })) << bridge.err();
  cli(first, "REPLICAOF NO ONE");
  add_many(first, "tasks", 3);
  EXPECT_TRUE(has_length(first, "tasks:results", 3)) << bridge.err();
}

TEST_F(RedisTopologiesTest, ABridgeGoesToTheNodeOfAClusterThatHasItsKeys) {
  handler_broker();
  const auto nodes = cluster();
  const int first = nodes.first, second = nodes.second;
  // By two tags, so that one of them is not where the bridge asks first, for streams and for lists.
  for (const std::string tag : {"{a}", "{b}"}) {
    const bool on_first = std::stoi(cli(first, "CLUSTER KEYSLOT " + tag)) < 8192;
    const int owner = on_first ? first : second;
    for (int i = 0; i < 10; ++i) {
      cli(owner, "XADD " + tag + "tasks '*' payload x");
      cli(owner, "RPUSH " + tag + "jobs x");
    }
    const std::string usual =
        "exec ipcq-redis --redis redis://127.0.0.1:" + std::to_string(first) + " --queue work --until-empty ";
    Command& streams = run(usual + "--stream " + tag + "tasks");
    EXPECT_EQ(streams.exit_code(), 0) << streams.err();
    EXPECT_EQ(cli(owner, "XLEN " + tag + "tasks:results"), "10\n");
    Command& lists = run(usual + "--list " + tag + "jobs");
    EXPECT_EQ(lists.exit_code(), 0) << lists.err();
    EXPECT_EQ(cli(owner, "LLEN " + tag + "jobs:results"), "10\n");
  }
  EXPECT_NE(std::stoi(cli(first, "CLUSTER KEYSLOT {a}")) < 8192, std::stoi(cli(first, "CLUSTER KEYSLOT {b}")) < 8192);
}

// What the slot of one payload lacks holds no other task up, and costs none that can be done later.
TEST_F(RedisTopologiesTest, OfAClusterPayloadsMayLieWhereTheBridgeIsNot) {
  handler_broker();
  const auto nodes = cluster();
  const int first = nodes.first, second = nodes.second;
  const auto word = [&](int port, const std::string& command) {
    const std::string line = cli(port, command);
    return line.substr(0, line.find('\n'));
  };
  const auto slot_of = [&](const std::string& key) { return word(first, "CLUSTER KEYSLOT " + key); };
  const bool on_first = std::stoi(slot_of("{a}")) < 8192;
  const int owner = on_first ? first : second, other = on_first ? second : first;
  const auto add = [&](const std::string& key) { cli(owner, "XADD {a}tasks '*' payload-key '" + key + "'"); };
  for (const std::string key : {"{a}one", "{a}two"}) cli(owner, "SET " + key + " x");
  const std::string nowhere = "b";  // of a slot that the other one serves, and then nobody
  for (const int port : {owner, other}) cli(port, "CLUSTER DELSLOTS " + slot_of(nowhere));
  ASSERT_THAT(cli(owner, "GET " + nowhere), testing::HasSubstr("CLUSTERDOWN"));

  add("{a}one");
  add(nowhere);
  add("{a}two");
  Command& bridge = start("exec ipcq-redis --redis redis://127.0.0.1:" + std::to_string(owner) +
                          " --queue work --attempts 2 --backoff 0.2 --stream '{a}tasks'");
  ASSERT_TRUE(has_length(owner, "{a}tasks:results", 2)) << bridge.err();
  ASSERT_TRUE(has_length(owner, "{a}tasks:dead", 1)) << bridge.err();
  EXPECT_THAT(cli(owner, "XRANGE {a}tasks:dead - +"), testing::HasSubstr("CLUSTERDOWN"));

  // A payload that has moved already, of a slot that moves.
  const auto slot = slot_of("{a}"), from = word(owner, "CLUSTER MYID"), to = word(other, "CLUSTER MYID");
  const auto move = [&](const std::string& key) {
    cli(owner, "MIGRATE 127.0.0.1 " + std::to_string(other) + " '" + key + "' 0 2000");
  };
  cli(other, "CLUSTER SETSLOT " + slot + " IMPORTING " + from);
  cli(owner, "CLUSTER SETSLOT " + slot + " MIGRATING " + to);
  move("{a}two");
  add("{a}two");
  ASSERT_TRUE(eventually([&] { return bridge.err().find("connecting again") != std::string::npos; })) << bridge.err();
  for (std::string key = "{a}one"; !key.empty(); key = word(owner, "CLUSTER GETKEYSINSLOT " + slot + " 1")) move(key);
  for (const int port : {other, owner}) cli(port, "CLUSTER SETSLOT " + slot + " NODE " + to);
  EXPECT_TRUE(has_length(other, "{a}tasks:results", 3)) << bridge.err();
  EXPECT_EQ(cli(other, "XLEN {a}tasks:dead"), "1\n") << bridge.err();
}

// Each host is a network namespace with a broker and a bridge; the server is in a third.
class RedisHostsTest : public RedisTest {
 protected:
  RedisHostsTest() : tag_(std::to_string(::getpid() % 10'000)) {}
  ~RedisHostsTest() override {
    run("for n in s a b; do ip netns pids iq$n" + tag_ + " | xargs -r kill -9; ip netns del iq$n" + tag_ +
        "; done 2>/dev/null");
  }
  bool make_hosts() {
    const std::string script =
        "set -e; t=" + tag_ +
        "; ip netns add iqs$t; ip -n iqs$t link add name hub type bridge; ip -n iqs$t link set hub up; "
        "ip -n iqs$t addr add 10.77.0.1/24 dev hub; ip -n iqs$t link set lo up; i=2; for n in a b; do ip netns add "
        "iq$n$t; "
        "ip link add v$n$t netns iqs$t type veth peer name eth0 netns iq$n$t; ip -n iqs$t link set v$n$t master hub "
        "up; "
        "ip -n iq$n$t addr add 10.77.0.$i/24 dev eth0; ip -n iq$n$t link set eth0 up; ip -n iq$n$t link set lo up; "
        "i=$((i+1)); done";
    Command& made = run(script);
    why_ = made.err();
    return made.exit_code() == 0;
  }
  std::string on(const std::string& host) const { return "exec ip netns exec iq" + host + tag_ + " "; }
  std::string cli(const std::string& command) { return run(on("s") + "redis-cli " + command).out(); }
  std::string tag_, why_;
};

TEST_F(RedisHostsTest, AHostThatIsCutOffIsTakenOverAndComesBackWithoutASecondResult) {
  if (::geteuid() != 0 || !make_hosts()) GTEST_SKIP() << "no network namespaces here: " << why_;
  start(on("s") + "${IPCQ_REDIS_SERVER:-redis-server} --save '' --bind 10.77.0.1 127.0.0.1 --protected-mode no");
  ASSERT_TRUE(eventually([&] { return cli("PING") == "PONG\n"; }));
  write("slow.cpp",
        "#include <ipcq/handler.hpp>\n#include <chrono>\n#include <thread>\n"
        "struct Slow {\n  template <class Team>\n"
        "  void operator()(std::byte* data, std::uint64_t length, Team) const {\n"
        "    std::this_thread::sleep_for(std::chrono::milliseconds(5));\n"
        "    if (length > 0) data[0] = std::byte{'Y'};\n  }\n};\nIPCQ_HANDLER(Slow)\n");
  std::map<std::string, Command*> bridges;
  for (const std::string host : {"a", "b"}) {
    Command& serving = start("mkdir " + host + "; XDG_RUNTIME_DIR=$PWD/" + host + " " + on(host) +
                             "ipcq-broker --name ${IPCQ_BROKER}-" + host +
                             " --queue work=4KiB,slots=16,calls=16,handler=slow.cpp,backend=host");
    ASSERT_TRUE(eventually([&] { return serving.err().find("serving at") != std::string::npos || serving.ended(); }))
        << serving.err();
    ASSERT_FALSE(serving.ended()) << serving.err();
    bridges[host] = &start("XDG_RUNTIME_DIR=$PWD/" + host + " " + on(host) + "ipcq-redis --broker ${IPCQ_BROKER}-" +
                           host + " --redis redis://10.77.0.1 --queue work --stream tasks --claim-after 1");
  }
  for (auto& [host, bridge] : bridges) {
    ASSERT_TRUE(eventually([&, each = bridge] { return is_working(*each) || each->ended(); }));
    ASSERT_FALSE(bridge->ended()) << bridge->err();
  }
  constexpr int kTasks = 400;
  run("seq 1 " + std::to_string(kTasks) + " | sed 's/.*/XADD tasks * payload x&/' | ip netns exec iqs" + tag_ +
      " redis-cli");
  ASSERT_TRUE(eventually([&] { return std::atoi(cli("XLEN tasks:results").c_str()) > 50; }));
  run("ip -n iqa" + tag_ + " link set eth0 down");
  ASSERT_TRUE(eventually([&] { return cli("XLEN tasks:results") == std::to_string(kTasks) + "\n"; }))
      << bridges["b"]->err();
  EXPECT_THAT(bridges["b"]->err(), HasSubstr("took over"));
  ASSERT_TRUE(eventually([&] { return bridges["a"]->err().find("no answer for") != std::string::npos; }));
  run("ip -n iqa" + tag_ + " link set eth0 up");
  ASSERT_TRUE(eventually([&] { return bridges["a"]->err().find("connected again") != std::string::npos; }, 60s))
      << bridges["a"]->err();
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(cli("XLEN tasks:results"), std::to_string(kTasks) + "\n");
  EXPECT_THAT(cli("XPENDING tasks ipcq"), testing::StartsWith("0\n"));
  run(on("s") + "redis-cli XADD tasks '*' payload again");
  EXPECT_TRUE(eventually([&] { return cli("XLEN tasks:results") == std::to_string(kTasks + 1) + "\n"; }));
}

}  // namespace
}  // namespace ipcq_test
