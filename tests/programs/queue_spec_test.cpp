// Queues and pools as one word of a command line: all keys, defaults, and errors that name the choices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program/queue_spec.hpp"
#include "programs/usage_error.hpp"

namespace ipcq::program {
namespace {

using testing::HasSubstr;

TEST(QueueSpec, TakesAHandlerFromAFile) {
  const auto spec = QueueSpec::parse(
      "q=4KiB,handler=my/mine.cu,handler_deadline=0.25,quick_start=no,define=LEVEL=7,define=FAST,include=more,include=/"
      "all");
  EXPECT_EQ(spec.options().handler, "my/mine.cu");
  EXPECT_FALSE(spec.options().quick_start);
  EXPECT_EQ(spec.options().handler_deadline, std::chrono::milliseconds(250));
  EXPECT_THAT(spec.options().defines, testing::ElementsAre("LEVEL=7", "FAST"));
  EXPECT_THAT(spec.options().includes, testing::ElementsAre("more", "/all"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=mine"); }), HasSubstr("(x.cu)"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=upper,quick_start=yes"); }),
              HasSubstr("quick_start: is of a handler from a file"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=upper,handler_deadline=1"); }),
              HasSubstr("handler_deadline: is of a handler from a file"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=x.cu,handler_deadline=-1"); }),
              HasSubstr("handler_deadline"));
  for (const char* const key : {"define", "include"}) {
    for (const char* const handler : {"", "handler=upper,"}) {
      EXPECT_THAT(usage_error_of([&] { QueueSpec::parse(std::string("q=4KiB,") + handler + key + "=x"); }),
                  HasSubstr(std::string("queue 'q', ") + key + ": is of a handler from a file"));
    }
    EXPECT_THAT(usage_error_of([&] { QueueSpec::parse(std::string("q=4KiB,handler=x.cu,") + key + "="); }),
                HasSubstr("is empty"));
  }
}

TEST(QueueSpec, StateIsOfAHandlersSourceFile) {
  const auto spec = QueueSpec::parse("q=4KiB,handler=mine.cu,state=1MiB,state_file=begin.bin");
  EXPECT_EQ(spec.options().state_bytes, std::uint64_t{1} << 20);
  EXPECT_EQ(spec.options().state_file, "begin.bin");
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=upper,state=1"); }),
              HasSubstr("queue 'q', state: is of a handler from a file"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=x.cu,state_file=y"); }),
              HasSubstr("queue 'q', state_file: the state that begins with it has no size"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=x.cu,state=1,state_file="); }),
              HasSubstr("is empty"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=x.cu,state=much"); }), HasSubstr("state"));
}

TEST(QueueSpec, ARunnerOfItsOwnIsOfAHandler) {
  EXPECT_FALSE(QueueSpec::parse("q=4KiB,handler=mine.cu").options().isolate);
  EXPECT_FALSE(QueueSpec::parse("q=4KiB,isolate=no").options().isolate);
  EXPECT_TRUE(QueueSpec::parse("q=4KiB,handler=mine.cu,isolate=yes").options().isolate);
  EXPECT_TRUE(QueueSpec::parse("q=4KiB,handler=upper,backend=cuda,isolate=yes").options().isolate);
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,isolate=yes"); }),
              HasSubstr("queue 'q', isolate: is of the process that works on the queue with a handler; name one"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=mine.cu,isolate=maybe"); }),
              HasSubstr("queue 'q', isolate: 'maybe' is none of yes, no"));
}

TEST(QueueSpec, PathsBeginWhereTheyAreSaidTo) {
  auto spec = QueueSpec::parse("q=4KiB,handler=mine.cu,include=more,include=/all,state=1,state_file=begin.bin");
  spec.begin_paths_at("/etc/ipcq");
  EXPECT_EQ(spec.options().handler, "/etc/ipcq/mine.cu");
  EXPECT_EQ(spec.options().state_file, "/etc/ipcq/begin.bin");
  EXPECT_THAT(spec.options().includes, testing::ElementsAre("/etc/ipcq/more", "/all"));
  auto builtin = QueueSpec::parse("q=4KiB,handler=upper");
  builtin.begin_paths_at("/etc/ipcq");
  EXPECT_EQ(builtin.options().handler, "upper");
}

TEST(QueueSpec, TakesAllKeys) {
  const auto spec = QueueSpec::parse(
      "q=4KiB,slots=8,lines=64,handler=upper,backpressure=drop-oldest,threads=2,wait=spin,endpoints=4,held=16,backend="
      "host,batch=records,line=192,"
      "group=a,group=b:lossy");
  EXPECT_EQ(spec.name(), "q");
  const QueueOptions& o = spec.options();
  EXPECT_EQ(o.size, 4096U);
  EXPECT_EQ(o.slots, 8U);
  EXPECT_EQ(o.lines, 64U);
  EXPECT_EQ(o.line, 192U);
  EXPECT_EQ(o.batch, Batch::records);
  EXPECT_EQ(o.handler, "upper");
  EXPECT_EQ(o.backpressure, Backpressure::drop_oldest);
  EXPECT_EQ(o.threads, 2U);
  EXPECT_EQ(o.wait.kind(), Wait::Kind::spin);
  EXPECT_EQ(o.endpoints, 4U);
  EXPECT_EQ(o.held, 16U);
  EXPECT_EQ(o.backend, "host");
  ASSERT_EQ(o.groups.size(), 2U);
  EXPECT_EQ(o.groups[0].name, "a");
  EXPECT_EQ(o.groups[0].policy, GroupPolicy::must);
  EXPECT_EQ(o.groups[1].name, "b");
  EXPECT_EQ(o.groups[1].policy, GroupPolicy::lossy);
}

TEST(QueueSpec, KeepsTheDefaultsOfTheLibrary) {
  const auto spec = QueueSpec::parse("frames=4k-rgb");
  EXPECT_EQ(spec.options().size, 24883200U);
  EXPECT_EQ(spec.options().slots, QueueOptions{}.slots);
  ASSERT_EQ(spec.options().groups.size(), 1U);
  EXPECT_EQ(spec.options().groups[0].name, "default");
}

TEST(QueueSpec, InlineQueueHasNoSlots) {
  EXPECT_EQ(QueueSpec::parse("ticks=inline,lines=4096").options().slots, 0U);
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("ticks=inline,slots=3"); }), HasSubstr("has none"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("ticks=slots=3,size=inline"); }), HasSubstr("has none"));
}

TEST(QueueSpec, RecordsNeedSlots) {
  EXPECT_EQ(QueueSpec::parse("q=4KiB").options().batch, Batch::messages);
  EXPECT_EQ(QueueSpec::parse("q=4KiB,batch=messages").options().batch, Batch::messages);
  EXPECT_EQ(QueueSpec::parse("q=pool=p,batch=records").options().batch, Batch::records);
  EXPECT_EQ(QueueSpec::parse("q=inline,batch=messages").options().batch, Batch::messages);
  for (const char* const text : {"q=inline,batch=records", "q=batch=records,size=inline"}) {
    EXPECT_THAT(usage_error_of([&] { QueueSpec::parse(text); }),
                AllOf(HasSubstr("queue 'q', batch"), HasSubstr("give it a size")))
        << text;
  }
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,batch=yes"); }),
              HasSubstr("'yes' is none of messages, records"));
}

TEST(QueueSpec, BackendOfTheCommandLineFillsOnlyWhatIsOpen) {
  auto open = QueueSpec::parse("a=4KiB");
  auto fixed = QueueSpec::parse("a=4KiB,backend=host");
  open.default_backend("cuda");
  fixed.default_backend("cuda");
  EXPECT_EQ(open.options().backend, "cuda");
  EXPECT_EQ(fixed.options().backend, "host");
}

TEST(QueueSpec, TakesTheKeysOfAGpu) {
  const auto spec = QueueSpec::parse("q=1MiB,backend=cuda,device=3,mirror=none,host_readable=no,executor=stream");
  const QueueOptions& o = spec.options();
  EXPECT_EQ(o.backend, "cuda");
  EXPECT_EQ(o.device, 3);
  EXPECT_EQ(o.mirror, Mirror::none);
  EXPECT_FALSE(o.host_readable);
  EXPECT_EQ(o.executor, ExecutorKind::stream);
  EXPECT_EQ(QueueSpec::parse("q=1MiB,executor=persistent").options().executor, ExecutorKind::persistent);
  EXPECT_EQ(QueueSpec::parse("q=1MiB,executor=auto").options().executor, ExecutorKind::auto_);
  EXPECT_EQ(QueueSpec::parse("q=1MiB,mirror=full,host_readable=yes").options().mirror, Mirror::full);
}

TEST(QueueSpec, RefusesKeysOfAGpuThatContradict) {
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,backend=host,device=1"); }),
              AllOf(HasSubstr("queue 'q', device"), HasSubstr("backend=host")));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,mirror=none,host_readable=yes"); }),
              HasSubstr("use mirror=full"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=pool=p,mirror=none"); }),
              HasSubstr("leave out device and mirror"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,backend=gpu"); }), HasSubstr("auto, host, cuda"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,mirror=half"); }), HasSubstr("none, full"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,host_readable=1"); }), HasSubstr("yes, no"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,executor=host"); }), HasSubstr("auto, persistent, stream"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,device=-1"); }), HasSubstr("from 0 to 1023"));
}

// `auto` is host for them, whatever the machine.
TEST(QueueSpec, RefusesKeysOfAGpuWhereAutoCannotMeanOne) {
  for (const char* const key : {"device=1", "mirror=none", "host_readable=no", "executor=stream"}) {
    EXPECT_THAT(usage_error_of([&] { QueueSpec::parse(std::string("q=4KiB,") + key).default_backend("auto"); }),
                AllOf(HasSubstr("queue 'q'"), HasSubstr("backend=cuda")))
        << key;
    EXPECT_NO_THROW(QueueSpec::parse(std::string("q=4KiB,handler=upper,") + key).default_backend("auto")) << key;
    EXPECT_NO_THROW(QueueSpec::parse(std::string("q=4KiB,") + key).default_backend("cuda")) << key;
  }
  EXPECT_THAT(usage_error_of([] { PoolSpec::parse("p=4KiB,slots=2,device=1").default_backend("auto"); }),
              AllOf(HasSubstr("pool 'p'"), HasSubstr("backend=cuda")));
}

// A configuration that writes the defaults out is good for a host, too.
TEST(QueueSpec, TakesTheDefaultsOfKeysOfAGpuWhereThereIsNone) {
  for (const char* const key : {"device=0", "mirror=full", "host_readable=yes", "executor=auto"}) {
    EXPECT_NO_THROW(QueueSpec::parse(std::string("q=4KiB,") + key).default_backend("auto")) << key;
    EXPECT_NO_THROW(QueueSpec::parse(std::string("q=4KiB,backend=host,") + key)) << key;
  }
  for (const char* const key : {"device=0", "mirror=full"}) {
    EXPECT_NO_THROW(PoolSpec::parse(std::string("p=4KiB,") + key).default_backend("auto")) << key;
    EXPECT_NO_THROW(PoolSpec::parse(std::string("p=4KiB,backend=host,") + key)) << key;
  }
}

TEST(QueueSpec, RefusesKeysOfTheHandlersThreadsWithoutAHandler) {
  for (const char* const key : {"threads=2", "wait=sleep"}) {
    EXPECT_THAT(usage_error_of([&] { QueueSpec::parse(std::string("q=4KiB,") + key); }),
                AllOf(HasSubstr("queue 'q'"), HasSubstr("name a handler")))
        << key;
    EXPECT_NO_THROW(QueueSpec::parse(std::string("q=4KiB,handler=upper,") + key)) << key;
  }
}

TEST(QueueSpec, RefusesEmptyParts) {
  for (const char* const text : {"q=", "q=,slots=1", "q=4KiB,", "q=4KiB,,slots=1", "q=slots=1,"}) {
    EXPECT_THAT(usage_error_of([&] { QueueSpec::parse(text); }), AllOf(HasSubstr(text), HasSubstr("nothing stands")))
        << text;
  }
  EXPECT_EQ(QueueSpec::parse("q=slots=1").options().size, QueueOptions{}.size);
}

TEST(QueueSpec, RefusesWhatIsGivenTwice) {
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,size=8KiB"); }), HasSubstr("size: given twice"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,group=a,group=a:lossy"); }),
              HasSubstr("group: 'a' is given twice"));
  EXPECT_THAT(usage_error_of([] { PoolSpec::parse("p=4KiB,slots=2,slots=3"); }),
              AllOf(HasSubstr("pool 'p'"), HasSubstr("slots: given twice")));
}

TEST(QueueSpec, ErrorsNameQueueKeyAndChoices) {
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("frames"); }), HasSubstr("no size"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("=4KiB"); }), HasSubstr("has no name"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,wait=poll"); }), HasSubstr("queue 'q', wait"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,slot=8"); }),
              AllOf(HasSubstr("'q'"), HasSubstr("'slot'"), HasSubstr("slots")));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,slots=0"); }), HasSubstr("from 1 to 1048576"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,slots=8,slots=9"); }), HasSubstr("given twice"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,8"); }), HasSubstr("'8' is not KEY=VALUE"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=blur"); }),
              AllOf(HasSubstr("blur"), HasSubstr("invert")));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,group=a:must-not"); }), HasSubstr("no policy"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,backpressure=drop"); }), HasSubstr("drop-oldest"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,pool=p"); }), HasSubstr("leave out size"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,pool="); }), HasSubstr("pool: names no pool; leave it out"));
}

TEST(PoolSpec, TakesSizeAndSlots) {
  const auto pool = PoolSpec::parse("shared=1MiB,slots=16");
  EXPECT_EQ(pool.name(), "shared");
  EXPECT_EQ(pool.options().size, 1048576U);
  EXPECT_EQ(pool.options().slots, 16U);
  EXPECT_THAT(usage_error_of([] { PoolSpec::parse("shared=1MiB,lines=4"); }), HasSubstr("size, slots"));
}

TEST(PoolSpec, MayLieOnAGpu) {
  auto pool = PoolSpec::parse("shared=1MiB,slots=16,backend=cuda,device=2,mirror=none");
  EXPECT_EQ(pool.options().backend, "cuda");
  EXPECT_EQ(pool.options().device, 2);
  EXPECT_EQ(pool.options().mirror, Mirror::none);
  pool.default_backend("host");
  EXPECT_EQ(pool.options().backend, "cuda");
  EXPECT_THAT(usage_error_of([] { PoolSpec::parse("shared=1MiB,backend=host,mirror=none"); }),
              HasSubstr("pool 'shared', mirror"));
}

}  // namespace
}  // namespace ipcq::program
