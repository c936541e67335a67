// ipcq-compiler for the host, with the system's compiler: the image and its table, what is said of a source, and what
// is left behind.
#include <dlfcn.h>
#include <signal.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include <nlohmann/json.hpp>

#include "beside_this_test.hpp"
#include "layout/host_image.hpp"
#include "programs/commands.hpp"
#include "programs/handler_text.hpp"

namespace ipcq_test {
namespace {

using ipcq::detail::HostImage;
using testing::HasSubstr;
using testing::Not;

class HandlerCompileTest : public ProgramTest {
 protected:
  Command& check(const std::string& arguments) { return run("exec ipcq handler check --backend host " + arguments); }
  // The table of an image that was just made; null, and a failure, if it has none.
  const HostImage* load(const std::string& name) {
    library_.reset(::dlopen(path(name).c_str(), RTLD_NOW | RTLD_LOCAL));
    EXPECT_NE(library_, nullptr) << ::dlerror();
    return library_ == nullptr ? nullptr
                               : static_cast<const HostImage*>(::dlsym(library_.get(), ipcq::detail::kHostImageSymbol));
  }
  // A compiler that is a script, in the test's directory.
  void write_compiler(const std::string& name, const std::string& script) {
    write(name, "#!/bin/bash\n" + script);
    ASSERT_EQ(::chmod(path(name).c_str(), 0700), 0);
  }
  bool is_empty(const std::string& folder) const { return std::filesystem::is_empty(path(folder)); }
  // Whether a process runs, and is not only waited for.
  static bool works(const std::string& pid) {
    std::ifstream file("/proc/" + pid + "/stat");
    std::string text;
    std::getline(file, text);
    const auto state = text.rfind(") ");
    return state != std::string::npos && text[state + 2] != 'Z';
  }

 private:
  struct Close {
    void operator()(void* library) const { ::dlclose(library); }
  };
  std::unique_ptr<void, Close> library_;
};

TEST_F(HandlerCompileTest, MakesATableThatRunsTheHandler) {
  write("adds.cu", handler_text("    if (length == 8) throw std::runtime_error(\"eight bytes are too many\");\n"
                                "    if (length == 12) throw 12;\n"
                                "    for (std::uint64_t i = team.rank(); i < length; i += team.size())\n"
                                "      data[i] = std::byte(static_cast<int>(data[i]) + STEP);",
                                "#include <stdexcept>\n"));
  Command& made = run("exec ipcq-compiler adds.cu --host -D STEP=3 --output adds.so");
  ASSERT_EQ(made.exit_code(), 0) << made.err();
  EXPECT_EQ(made.err(), "");
  EXPECT_THAT(made.out(), testing::MatchesRegex(
                              "adds.cu: compiles for the host \\((g|clang)\\+\\+ [0-9.]+, [0-9]+\\.[0-9] s\\)\n"));
  const HostImage* const image = load("adds.so");
  ASSERT_NE(image, nullptr);
  EXPECT_EQ(image->magic, ipcq::detail::kHostImageMagic);
  EXPECT_EQ(image->abi, ipcq::kAbiVersion);

  ipcq::detail::HandlerReport report{};
  void* const handler = image->make(nullptr, 0, {}, &report);
  ASSERT_NE(handler, nullptr);
  std::array<std::byte, 16> data{};
  std::array<char, 64> why{};
  const auto outcome_of = [&](std::uint64_t length, std::uint64_t why_bytes) {
    ipcq::HandlerMessage m;
    m.data = data.data();
    m.length = m.capacity = length;
    image->run(handler, m, why.data(), why_bytes);
    return m.outcome;
  };
  EXPECT_EQ(outcome_of(4, why.size()), 0u);
  EXPECT_EQ(data[3], std::byte{3});
  EXPECT_EQ(data[4], std::byte{0});
  EXPECT_EQ(outcome_of(5, why.size()), ipcq::detail::kRefusedOutcome);
  EXPECT_EQ(data[4], std::byte{0});
  EXPECT_EQ(outcome_of(8, why.size()), ipcq::detail::kThrewOutcome);
  EXPECT_STREQ(why.data(), "eight bytes are too many");
  why.fill('x');
  EXPECT_EQ(outcome_of(8, 6), ipcq::detail::kThrewOutcome);
  EXPECT_EQ(std::string(why.data(), 7), std::string("eight\0x", 7));
  EXPECT_EQ(outcome_of(8, 0), ipcq::detail::kThrewOutcome);
  EXPECT_EQ(why[6], 'x');
  EXPECT_EQ(outcome_of(12, why.size()), ipcq::detail::kThrewOutcome);
  EXPECT_STREQ(why.data(), "an exception that is no std::exception");
  image->destroy(handler);
}

TEST_F(HandlerCompileTest, TakesTheSourceThatAGpuTakes) {
  ASSERT_EQ(handlers_of_the_guide().size(), 4u);
  for (const std::string& handler : handlers_of_the_guide()) {
    write("guide.cu", handler);
    Command& made = check("guide.cu");
    EXPECT_EQ(made.exit_code(), 0) << made.err();
  }
  write("words.cu",
        handler_text("    data[0] = std::byte(half(std::sqrt(4.0f)));\n" + kNoWork,
                     "#include <cmath>\n#include <cstring>\n#define T 1\n#define H 2\n#define N 7\n#define box 4\n"
                     "__forceinline__ __host__ __device__ float half(float x) { return x / 2; }\n"));
  Command& words = check("words.cu");
  EXPECT_EQ(words.exit_code(), 0) << words.err();
  std::filesystem::create_directory(path("more"));
  write("level.hpp", "#include \"more/ceiling.hpp\"\n");
  write("more/ceiling.hpp", "#include <other.hpp>\n");
  write("more/other.hpp", "inline constexpr int kCeiling = 255;\n");
  write("-odd \"name\\.cu", handler_text(kNoWork + "static_assert(kCeiling == 255);", "#include \"level.hpp\"\n"));
  Command& odd = check("-I more -- '-odd \"name\\.cu'");
  EXPECT_EQ(odd.exit_code(), 0) << odd.err();
  EXPECT_EQ(check("-- '-odd \"name\\.cu'").exit_code(), 1);
  Command& pipe = run("exec ipcq-compiler --host /dev/stdin < guide.cu");
  EXPECT_EQ(pipe.exit_code(), 0) << pipe.err();
}

TEST_F(HandlerCompileTest, ShowsTheCompilersMessagesWholeWithTheUsersFileAndLine) {
  std::string wrong;
  for (int i = 0; i < 60; ++i) wrong += "    undeclared_" + std::to_string(i) + "();\n";
  std::filesystem::create_directory(path("far"));
  write("far/wrong.cu", handler_text(wrong));
  Command& refused = check("far/wrong.cu");
  EXPECT_EQ(refused.exit_code(), 1);
  EXPECT_EQ(refused.out(), "");
  EXPECT_THAT(refused.err(), HasSubstr("far/wrong.cu:6:5: error: "));
  EXPECT_THAT(refused.err(), HasSubstr("far/wrong.cu:65:5: error: "));
  EXPECT_THAT(refused.err(), HasSubstr("undeclared_59"));
  EXPECT_THAT(refused.err(), Not(HasSubstr("ipcq-compiler.")));  // a folder that is gone when it is read
  for (const char* tail : {"/* open", "#if 1"}) {
    write("open.cu", handler_text(kNoWork) + tail + "\n");
    Command& open = check("open.cu");
    EXPECT_EQ(open.exit_code(), 1);
    EXPECT_THAT(open.err(), HasSubstr("open.cu:10:"));
    EXPECT_THAT(open.err(), Not(HasSubstr("table.hpp")));
  }
  write("warned.cu", handler_text("#warning so it is\n" + kNoWork));
  Command& warned = check("warned.cu");
  EXPECT_EQ(warned.exit_code(), 0);
  EXPECT_THAT(warned.err(), HasSubstr("warned.cu:6:2: warning: "));
}

TEST_F(HandlerCompileTest, WhatIsNotDefinedIsToldByTheLinker) {
  write("far.cu", handler_text("    far();\n" + kNoWork, "void far();\n"));
  Command& far = check("far.cu");
  EXPECT_EQ(far.exit_code(), 1);  // and not when a queue loads it
  EXPECT_THAT(far.err(), HasSubstr("far()"));
}

TEST_F(HandlerCompileTest, ASignalEndsABrokerThatCompiles) {
  write("mine.cu", handler_text(kNoWork));
  write_compiler("slow", "touch begun; exec sleep 60");
  Command& broker = start(
      "XDG_CACHE_HOME=$PWD/cache XDG_RUNTIME_DIR=$PWD IPCQ_CXX=./slow exec ipcq-broker --name compiling --queue "
      "q=inline,backend=host,handler=mine.cu");
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(path("begun")); }));
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(::kill(broker.pid(), SIGTERM), 0);
  EXPECT_EQ(broker.exit_code(), 0) << broker.err();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_THAT(broker.err(), HasSubstr("stopped before all was created"));
}

TEST_F(HandlerCompileTest, AFileThatBecomesTooLongIsToldAndLeavesNothing) {
  write("mine.cu", handler_text(kNoWork));
  Command& limited = run("mkdir -p tmp; ulimit -f 8; TMPDIR=$PWD/tmp exec ipcq-compiler mine.cu --host");
  EXPECT_NE(limited.exit_code(), 0);
  EXPECT_THAT(limited.err(), HasSubstr("File too large"));
  EXPECT_TRUE(std::filesystem::is_empty(path("tmp")));
}

TEST_F(HandlerCompileTest, FindsTheCompilerOrSaysWhatToDo) {
  write("mine.cu", handler_text(kNoWork));
  const auto refused = [&](const std::string& script, int code, const std::string& message) {
    Command& command = run("compiler=$(type -p ipcq-compiler); " + script + " exec \"$compiler\" mine.cu --host");
    EXPECT_EQ(command.exit_code(), code) << script;
    EXPECT_EQ(command.out(), "") << script;
    EXPECT_THAT(command.err(), HasSubstr(message)) << script;
  };
  refused("PATH=/nowhere", 6, "none of c++, g++, clang++ and zig is in PATH; install g++ or clang, or `pip");
  refused("IPCQ_CXX=/nowhere/g++", 6, "IPCQ_CXX: '/nowhere/g++' is no program; set it to a C++ compiler's");
  refused("IPCQ_CXX=nowhere-g++", 6, "IPCQ_CXX: 'nowhere-g++' is no program in PATH");
  refused("IPCQ_CXX=/", 6, "IPCQ_CXX: '/' is no program");
  write_compiler("fails", "cat >&2; exit 3");
  refused("IPCQ_CXX=./fails", 1, "#include <user/handler.cu>");
  write_compiler("dies", "echo so far >&2; kill -9 $$");
  refused("IPCQ_CXX=./dies", 6,
          "so far\nipcq-compiler: error: './dies' was ended by signal 9: is there memory enough?");
  write_compiler("idle", "true");
  refused("IPCQ_CXX=./idle", 6, "'./idle' made no image");
  write("none", "#!/nowhere/sh\n");
  ASSERT_EQ(::chmod(path("none").c_str(), 0700), 0);
  refused("IPCQ_CXX=./none", 6, "cannot start './none': No such file");
  refused("TMPDIR=/nowhere", 6, "cannot make a folder in '/nowhere': No such file or directory; set TMPDIR");
  write_compiler("named", "exec c++ \"$@\"");
  Command& named = run("PATH=$PWD:$PATH IPCQ_CXX=named exec ipcq-compiler mine.cu --host --json");
  ASSERT_EQ(named.exit_code(), 0) << named.err();
  EXPECT_EQ(nlohmann::json::parse(named.out()).at("target"), "host");
  EXPECT_THAT(run("PATH=$PWD:$PATH IPCQ_CXX=named exec ipcq doctor").out(),
              HasSubstr("OK    handlers, host   " + path("named")));
  EXPECT_EQ(check("mine.cu --arch sm_90").exit_code(), 2);
  EXPECT_EQ(run("exec ipcq-compiler mine.cu").exit_code(), 2);
}

// However it ends: nothing in the temporary folder, and no compiler that works on.
TEST_F(HandlerCompileTest, LeavesNothingBehind) {
  std::filesystem::create_directory(path("temporary"));
  write("mine.cu", handler_text(kNoWork));
  write("wrong.cu", handler_text("nothing"));
  for (const char* file : {"mine.cu", "wrong.cu"}) {
    Command& command = run("TMPDIR=$PWD/temporary exec ipcq-compiler --host " + std::string(file));
    EXPECT_EQ(command.exit_code(), file == std::string("mine.cu") ? 0 : 1);
    EXPECT_TRUE(is_empty("temporary"));
  }
  write_compiler("waits", ": >\"$TMPDIR/part\"\nsleep 100 &\necho $$ $! >\"${0%waits}pids\"\nwait\n");
  for (const int number : {SIGINT, SIGTERM, SIGKILL}) {
    std::filesystem::remove(path("pids"));
    Command& waiting = start("TMPDIR=$PWD/temporary IPCQ_CXX=$PWD/waits exec ipcq-compiler --host mine.cu");
    ASSERT_TRUE(eventually([&] { return contents("pids").ends_with("\n"); })) << waiting.err();
    EXPECT_FALSE(is_empty("temporary"));
    std::istringstream pids(contents("pids"));
    std::string compiler, child;
    pids >> compiler >> child;
    EXPECT_TRUE(works(compiler) && works(child));
    ASSERT_EQ(::kill(-waiting.pid(), number), 0);  // as a terminal does
    EXPECT_EQ(waiting.exit_code(), 128 + number);
    EXPECT_TRUE(eventually([&] { return is_empty("temporary"); })) << number;
    EXPECT_TRUE(eventually([&] { return !works(compiler) && !works(child); })) << number;
  }
}

TEST_F(HandlerCompileTest, TakesWhatWasBuiltAheadAsItIs) {
  const std::string built = beside_this_test(IPCQ_BUILT_FOR_HOST);
  Command& taken = run("IPCQ_CXX=/nowhere/g++ XDG_CACHE_HOME=$PWD/cache exec ipcq-compiler " + built +
                       " --host --cache --output same.so");
  ASSERT_EQ(taken.exit_code(), 0) << taken.err();
  EXPECT_EQ(taken.err(), "");
  EXPECT_THAT(taken.out(),
              testing::ContainsRegex("libsort_fours_on_host.so: was built for the host \\((g|clang)\\+\\+ "));
  EXPECT_FALSE(std::filesystem::exists(path("cache")));
  std::ifstream file(built, std::ios::binary);
  EXPECT_EQ(contents("same.so"), std::string(std::istreambuf_iterator<char>(file), {}));
  EXPECT_NE(load("same.so"), nullptr);
  EXPECT_EQ(check(built + " -D X=1").exit_code(), 2);
  Command& gpu = run("exec ipcq handler check --arch sm_90 " + built);
  EXPECT_EQ(gpu.exit_code(), 1);
  EXPECT_THAT(gpu.err(), HasSubstr("libsort_fours_on_host.so' has code for the host alone"));
}

TEST_F(HandlerCompileTest, WritesTheImageToADescriptor) {
  write("mine.cu", handler_text(kNoWork));
  write("image", std::string(1 << 20, 'x'));  // longer than it is going to be
  Command& made = run("exec 5<>image; read -N 100 -u 5; exec ipcq-compiler mine.cu --host --image-fd 5 --output same");
  ASSERT_EQ(made.exit_code(), 0) << made.err();
  EXPECT_EQ(contents("image").substr(0, 4),
            "\x7f"
            "ELF");
  EXPECT_EQ(contents("image"), contents("same"));
  EXPECT_NE(load("image"), nullptr);
  const auto refused = [&](const std::string& script, int code, const std::string& message) {
    Command& command = run(script);
    EXPECT_EQ(command.exit_code(), code) << script;
    EXPECT_THAT(command.err(), HasSubstr(message)) << script;
  };
  refused("exec ipcq-compiler mine.cu --host --image-fd 5", 2, "was not started with descriptor 5 open for writing");
  refused("exec ipcq-compiler mine.cu --host --image-fd 5 5<image", 2, "descriptor 5 open for writing");
  refused("exec ipcq-compiler mine.cu --host --image-fd 5 5> >(cat)", 1, "it is to be one of a file or a memfd");
  refused("exec ipcq-compiler mine.cu --host --image-fd 5 5>/dev/full", 1, "bytes to descriptor 5: ");
  write_compiler("looks", "[[ ! -e /proc/self/fd/5 ]] || echo inherited >&2\nexec c++ \"$@\"");
  Command& looked = run("IPCQ_CXX=./looks exec ipcq-compiler mine.cu --host --image-fd 5 5<>image");
  EXPECT_EQ(looked.exit_code(), 0);
  EXPECT_EQ(looked.err(), "");
}

}  // namespace
}  // namespace ipcq_test
