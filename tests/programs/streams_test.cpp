// Streams one after the other through one queue: clients that start in any order.
#include <signal.h>

#include <thread>

#include "programs/commands.hpp"

namespace ipcq_test {
namespace {

using StreamsTest = ProgramTest;

TEST_F(StreamsTest, AConsumerOnAQueueThatWasUsedBeforeWaitsForTheNextStream) {
  broker("--queue q=4KiB,slots=4,backend=host");
  for (int i = 0; i < 3; ++i) {
    Command& consumer = start("exec ipcq-consumer q --output out");
    ASSERT_TRUE(eventually([&] { return stat("queues/0/groups/0/members") == 1 || consumer.ended(); }));
    const std::string text = "run " + std::to_string(i) + "\n";
    Command& producer = run("printf '" + text + "' | ipcq-producer q --lines");
    EXPECT_EQ(producer.exit_code(), 0) << producer.err();
    EXPECT_EQ(consumer.exit_code(), 0) << consumer.err();
    EXPECT_EQ(contents("out"), text);
  }
}

TEST_F(StreamsTest, WithoutTimeToWaitItTellsTheEndOfTheStreamThatIsOver) {
  broker("--queue q=4KiB,slots=4,backend=host");
  EXPECT_EQ(run("echo a | ipcq-producer q --lines").exit_code(), 0);
  EXPECT_EQ(run("exec ipcq-consumer q --output out").exit_code(), 0);
  EXPECT_EQ(contents("out"), "a\n");
  for (const char* wait : {"0", "0.2"}) {
    Command& late = run(std::string("exec ipcq-consumer q --json --wait-for ") + wait);
    EXPECT_EQ(late.exit_code(), 0) << late.err();
    EXPECT_THAT(late.out(), testing::HasSubstr("\"status\":\"end\""));
  }
}

TEST_F(StreamsTest, AProducerThatCannotReadItsInputDoesNotAttach) {
  broker("--queue q=4KiB,slots=4,backend=host");
  for (const char* arguments : {"--lines --input .", "--block 4 --input none", "--lines <.",
                                "--block 8KiB --input /dev/zero", "--generate zero --size 8KiB", "--generate 4k"}) {
    EXPECT_EQ(run(std::string("exec ipcq-producer q ") + arguments).exit_code(), 2) << arguments;
  }
  EXPECT_EQ(stat("queues/0/producers_lost"), 0);
  EXPECT_EQ(run("exec ipcq-consumer q --timeout 0.2").exit_code(), 4);  // nor has a stream come and gone
}

TEST_F(StreamsTest, AProducerOfTooLargeMessagesDoesNotAttachToAQueueWithoutSlots) {
  broker("--queue q=inline");
  for (const char* arguments : {"--block 97 --input /dev/zero", "--generate zero --size 97", "--generate 4k"}) {
    EXPECT_EQ(run(std::string("exec ipcq-producer q ") + arguments).exit_code(), 2) << arguments;
  }
  EXPECT_EQ(stat("queues/0/producers_lost"), 0);
  EXPECT_EQ(stat("queues/0/slot_bytes"), 0);
  EXPECT_EQ(run("exec ipcq-producer q --generate zero --size 96 --count 1").exit_code(), 0);
}

TEST_F(StreamsTest, ASignalEndsAProducerWhoseInputDoesNotCome) {
  broker("--queue q=4KiB,slots=4,backend=host");
  for (const char* arguments : {"--lines <pipe", "--block 3 <pipe", "--block 4KiB --input pipe"}) {
    Command& producer =
        start(std::string("rm -f pipe; mkfifo pipe; exec 3<>pipe; echo a >pipe; exec ipcq-producer q ") + arguments);
    ASSERT_TRUE(eventually([&] { return stat("queues/0/endpoints/0/pid") == producer.pid() || producer.ended(); }));
    std::this_thread::sleep_for(100ms);
    producer.signal(SIGTERM);
    EXPECT_EQ(producer.exit_code(), 0) << arguments << "\n" << producer.err();
  }
  Command& waiting = start("rm -f pipe; mkfifo pipe; exec ipcq-producer q --lines --input pipe");  // without a writer
  std::this_thread::sleep_for(300ms);
  waiting.signal(SIGTERM);
  EXPECT_EQ(waiting.exit_code(), 128 + SIGTERM);
}

}  // namespace
}  // namespace ipcq_test
