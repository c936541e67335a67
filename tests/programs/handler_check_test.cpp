// ipcq handler check: what it makes of a handler's source, with the real compiler and without a GPU.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "beside_this_test.hpp"
#include "programs/commands.hpp"
#include "programs/handler_text.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class HandlerCheckTest : public ProgramTest {
 protected:
  Command& check(const std::string& arguments) { return run("exec ipcq handler check --arch sm_90 " + arguments); }
  void write_handler(const std::string& name, const std::string& body, const std::string& before = "") {
    write(name, handler_text(body, before));
  }
};

TEST_F(HandlerCheckTest, CompilesTheFileWithItsMacrosAndTheHeadersBesideIt) {
  std::filesystem::create_directory(path("more"));
  write("level.hpp", "inline constexpr int level() { return LEVEL; }\n");
  write("more/ceiling.hpp", "constexpr int kCeiling = 255;\n");
  write_handler("threshold.cu",
                "    for (std::uint64_t i = team.rank(); i < length; i += team.size())\n"
                "      data[i] = static_cast<std::byte>(static_cast<int>(data[i]) >= level() ? kCeiling : 0);",
                "#include \"level.hpp\"\n#include \"ceiling.hpp\"\n");
  Command& good = check("threshold.cu -D LEVEL=7 -I more");
  EXPECT_EQ(good.exit_code(), 0) << good.err();
  EXPECT_EQ(good.err(), "");
  EXPECT_THAT(good.out(), HasSubstr("threshold.cu: compiles for sm_90 (NVRTC "));

  Command& json = check("threshold.cu -D LEVEL=7 -I more --json");
  ASSERT_EQ(json.exit_code(), 0) << json.err();
  const auto said = nlohmann::json::parse(json.out());
  EXPECT_EQ(said.at("file"), "threshold.cu");
  EXPECT_GT(said.at("registers"), 16);
  EXPECT_LE(said.at("registers"), 64);  // two blocks on a multiprocessor
  EXPECT_GT(said.at("image_bytes"), 10000);

  EXPECT_EQ(check("threshold.cu -I more").exit_code(), 1);
  EXPECT_EQ(check("threshold.cu -D LEVEL=7").exit_code(), 1);
}

TEST_F(HandlerCheckTest, CompilesTheHandlersOfTheGuide) {
  ASSERT_EQ(handlers_of_the_guide().size(), 4u);
  for (const std::string& handler : handlers_of_the_guide()) {
    write("guide.cu", handler);
    Command& good = check("guide.cu");
    EXPECT_EQ(good.exit_code(), 0) << good.err();
    EXPECT_EQ(good.err(), "");
  }
}

TEST_F(HandlerCheckTest, CompilesTheHandlersOfTheExamples) {
  int compiled = 0;
  for (const auto& entry : std::filesystem::directory_iterator(IPCQ_EXAMPLES)) {
    if (entry.path().extension() != ".cu") continue;
    Command& good = check("'" + entry.path().string() + "'");
    EXPECT_EQ(good.exit_code(), 0) << good.err();
    EXPECT_EQ(good.err(), "");
    ++compiled;
  }
  EXPECT_GT(compiled, 0);
}

TEST_F(HandlerCheckTest, MakesAnImageWithTheKernelsOfBothExecutors) {
  write_handler("nothing.cu", "    (void)data, (void)length, (void)team;");
  Command& made = run("exec ipcq-compiler nothing.cu --arch sm_90 --output nothing.cubin");
  ASSERT_EQ(made.exit_code(), 0) << made.err();
  const std::string image = contents("nothing.cubin");
  EXPECT_EQ(image.substr(0, 4),
            "\x7f"
            "ELF");
  for (const char* kernel : {"ipcq_persistent_user", "ipcq_message_user", "ipcq_finish_user", "ipcq_inlined_user"}) {
    EXPECT_THAT(image, HasSubstr(kernel));
  }
  EXPECT_THAT(image, HasSubstr("ipcq_device_code_" IPCQ_DEVICE_CODE));
}

TEST_F(HandlerCheckTest, LinksDeviceCodeOfOtherCompilers) {
  std::istringstream files(IPCQ_C_HANDLER_CODE);
  int count = 0;
  for (std::string name; std::getline(files, name, ':'); ++count) {
    const std::string file = beside_this_test(name);
    Command& made = run("XDG_CACHE_HOME=$PWD/cache exec ipcq-compiler --arch sm_90 --cache --output image " + file);
    ASSERT_EQ(made.exit_code(), 0) << made.err();
    EXPECT_EQ(made.err(), "");
    EXPECT_THAT(made.out(), testing::ContainsRegex("compiles for sm_90 \\(nvJitLink 1[23]\\.[0-9], [0-9.]+ s\\): "));
    EXPECT_THAT(contents("image"), HasSubstr("ipcq_device_code_" IPCQ_DEVICE_CODE));
    EXPECT_THAT(contents("image"), HasSubstr("ipcq_persistent_user"));
    EXPECT_THAT(run("XDG_CACHE_HOME=$PWD/cache exec ipcq-compiler --arch sm_90 --cache " + file).out(),
                HasSubstr(", cached)"));
    EXPECT_EQ(check(file + " -D X").exit_code(), 2);
  }
  EXPECT_GE(count, 2);
  EXPECT_EQ(check(IPCQ_C_HANDLER_SOURCE).exit_code(), 0);
}

// What a queue can begin with; the cache is asked first, and not given what is made so.
TEST_F(HandlerCheckTest, LinksAHandlerQuickly) {
  write("guide.cu", handlers_of_the_guide().front());
  const auto compile = [&](const std::string& arguments) -> nlohmann::json {
    Command& made =
        run("XDG_CACHE_HOME=$PWD/cache exec ipcq-compiler guide.cu --arch sm_90 --cache --json --output image " +
            arguments);
    EXPECT_EQ(made.exit_code(), 0) << made.err();
    EXPECT_EQ(made.err(), "");
    return nlohmann::json::parse(made.out(), nullptr, false);
  };
  std::string key;
  for (int n = 0; n < 2; ++n) {
    const auto quick = compile("--quick");
    EXPECT_FALSE(quick.contains("not_quick")) << quick;
    EXPECT_FALSE(quick.at("cached"));
    key = quick.value("quick_key", "");
    EXPECT_NE(key, "");
    const std::string image = contents("image");
    for (const char* name :
         {"ipcq_persistent_user", "ipcq_inlined_user", "ipcq_configure_user", "ipcq_handler_user", "ipcq_state_user"}) {
      EXPECT_THAT(image, HasSubstr(name));
    }
    EXPECT_THAT(image, HasSubstr("ipcq_device_code_" IPCQ_DEVICE_CODE));
  }
  EXPECT_FALSE(compile("--only-of " + key).contains("quick_key"));
  const auto kept = compile("--quick");
  EXPECT_TRUE(kept.at("cached"));
  EXPECT_FALSE(kept.contains("quick_key"));
  EXPECT_THAT(contents("image"), Not(HasSubstr("ipcq_quick_slot")));
  write("guide.cu", handlers_of_the_guide().front() + "// changed\n");
  Command& changed = run("exec ipcq-compiler guide.cu --arch sm_90 --only-of " + key);
  EXPECT_EQ(changed.exit_code(), 1);
  EXPECT_THAT(changed.err(), HasSubstr("'guide.cu', or a header, has changed since it was linked"));
}

TEST_F(HandlerCheckTest, SaysWhyAHandlerIsNotLinkedQuickly) {
  write_handler("wrong.cu", "    undeclared();");
  Command& wrong = run("exec ipcq-compiler wrong.cu --arch sm_90 --quick");
  EXPECT_EQ(wrong.exit_code(), 1);
  EXPECT_THAT(wrong.err(), HasSubstr("wrong.cu(6): error: identifier \"undeclared\" is undefined"));
  write("guide.cu", handlers_of_the_guide().front());
  write_handler("constants.cu", "    data[0] = static_cast<std::byte>(kTable[length % 4] + kMore[length % 3]);",
                "static constexpr int kTable[4] = {1, 2, 3, 4};\ninline constexpr int kMore[3] = {1, 2, 3};\n");
  Command& constants = run("exec ipcq-compiler constants.cu --arch sm_90 --quick");
  EXPECT_THAT(constants.out(), HasSubstr(": linked, not inlined"));
  Command& alone = run("IPCQ_NVJITLINK=/nowhere exec ipcq-compiler guide.cu --arch sm_90 --quick");
  EXPECT_EQ(alone.exit_code(), 0) << alone.err();
  EXPECT_THAT(alone.out(), AllOf(HasSubstr("not linked quickly: "), HasSubstr("/nowhere"), HasSubstr(" registers")));
  write("macro.cu", "#define SOME <cstdint>\n#include SOME\n" + handlers_of_the_guide().front());
  Command& unknown = run("exec ipcq-compiler macro.cu --arch sm_90 --quick");
  EXPECT_EQ(unknown.exit_code(), 0) << unknown.err();
  EXPECT_THAT(unknown.out(), AllOf(HasSubstr("not linked quickly: "), HasSubstr(" registers")));
  for (const auto& [before, body] :
       {std::pair("", "    static int count = 1;\n    data[0] = static_cast<std::byte>(++count);"),
        std::pair("", "    static unsigned count[256];\n    atomicAdd(&count[length % 256], 1u);"),
        std::pair("__device__ int count = 1;\n", "    data[0] = static_cast<std::byte>(count);"),
        std::pair("static __device__ int count;\n", "    data[length] = static_cast<std::byte>(atomicAdd(&count, 1));"),
        std::pair("inline __device__ int count;\n", "    data[0] = static_cast<std::byte>(++count);"),
        std::pair("inline int next() { static int count; return ++count; }\n",
                  "    data[0] = static_cast<std::byte>(next());"),
        std::pair("static __device__ int count[4] = {1, 2, 3, 4};\n", "    ++count[length % 4];")}) {
    write_handler("counts.cu", body, before);
    Command& counts = run("exec ipcq-compiler counts.cu --arch sm_90 --quick");
    EXPECT_EQ(counts.exit_code(), 0) << counts.err();
    EXPECT_THAT(counts.out(), AllOf(HasSubstr("not linked quickly: its variable '"), HasSubstr("count' would begin")));
  }
}

TEST_F(HandlerCheckTest, SaysWhyDeviceCodeCannotBeLinked) {
  const auto refused = [&](const std::string& script, int code, const std::string& message) {
    Command& command = run(script);
    EXPECT_EQ(command.exit_code(), code) << script;
    EXPECT_THAT(command.err(), HasSubstr(message)) << script;
  };
  write("odd.ptx", "odd");
  write("odd.ltoir", "odd");
  refused("exec ipcq handler check --arch sm_90 odd.ptx", 1, "NVJITLINK_INPUT_PTX");
  refused("exec ipcq handler check --arch sm_90 odd.ltoir", 1, "odd.ltoir: nvJitLink 1");
  write("other.ptx", ".version 7.0\n.target sm_75\n.address_size 64\n.visible .func other() { ret; }\n");
  refused("exec ipcq handler check --arch sm_90 other.ptx", 1, "Undefined reference to 'ipcq_handle'");
  refused("exec ipcq handler check --arch sm_90 other.ptx", 1, "extern \"C\" int32_t ipcq_handle(void* data");
  refused("exec ipcq handler check --backend host other.ptx", 1, "'other.ptx' is code for a GPU");
  refused("IPCQ_NVJITLINK=/nowhere exec ipcq handler check --arch sm_90 other.ptx", 6,
          "nvJitLink, which links device code of other compilers, was not found (tried /nowhere: ");
  EXPECT_THAT(run("IPCQ_RUNNER=/nowhere IPCQ_NVJITLINK=/nowhere exec ipcq doctor").out(),
              HasSubstr("WARN  handlers, linked"));
}

TEST_F(HandlerCheckTest, KeepsAndTakesImages) {
  write_handler("warned.cu", "    int unused = 0;\n" + kNoWork);
  const auto compile = [&](const std::string& arguments) -> nlohmann::json {
    Command& made =
        run("XDG_CACHE_HOME=$PWD/cache exec ipcq-compiler warned.cu --cache --json --output image " + arguments);
    EXPECT_EQ(made.exit_code(), 0) << made.err();
    EXPECT_THAT(made.err(), HasSubstr("warned.cu(6): warning")) << arguments;
    return nlohmann::json::parse(made.out(), nullptr, false);
  };
  auto first = compile("--arch sm_90");
  const std::string image = contents("image");
  auto again = compile("--arch sm_90");
  EXPECT_EQ(contents("image"), image);
  EXPECT_FALSE(first.at("cached"));
  EXPECT_TRUE(again.at("cached"));
  EXPECT_EQ(again.at("target"), "sm_90");
  EXPECT_GT(again.at("registers"), 16);
  for (nlohmann::json* one : {&first, &again}) one->erase("cached"), one->erase("seconds");
  EXPECT_EQ(first, again);
  EXPECT_FALSE(compile("--arch sm_80").at("cached"));
}

TEST_F(HandlerCheckTest, ShowsTheCompilersMessagesWholeWithTheUsersFileAndLine) {
  std::string wrong;
  for (int i = 0; i < 60; ++i) wrong += "    undeclared_" + std::to_string(i) + "();\n";
  write_handler("wrong.cu", wrong);
  Command& refused = check("wrong.cu");
  EXPECT_EQ(refused.exit_code(), 1);
  EXPECT_EQ(refused.out(), "");
  // The first statement is in the sixth line.
  EXPECT_THAT(refused.err(), HasSubstr("wrong.cu(6): error: identifier \"undeclared_0\" is undefined"));
  EXPECT_THAT(refused.err(), HasSubstr("wrong.cu(65): error: identifier \"undeclared_59\" is undefined"));
  EXPECT_THAT(refused.err(), Not(HasSubstr("run_persistent")));

  write_handler("warned.cu", "    int unused = 0;\n    (void)data, (void)length, (void)team;");
  Command& warned = check("warned.cu");
  EXPECT_EQ(warned.exit_code(), 0);
  EXPECT_THAT(warned.err(), HasSubstr("warned.cu(6): warning"));
}

TEST_F(HandlerCheckTest, TakesWhatHandlersUseOfTheStandardLibrary) {
  write_handler(
      "uses.cu",
      "    if (length > INT32_MAX || length > SIZE_MAX) return;\n"
      "    for (std::uint64_t i = team.rank(); i < length; i += team.size())\n"
      "      data[i] ^= std::byte(std::sqrt(4.0f)) << 1 | ~std::byte{std::to_integer<unsigned char>(data[i])};",
      "#include <cmath>\n#include <cstring>\n#define length_of 3\n#define T 1\n#define H 2\n#define N 7\n#define box "
      "4\n#define area 5\n");
  Command& good = check("uses.cu");
  EXPECT_EQ(good.exit_code(), 0) << good.err();
}

// Of these the compiler would say nothing, or nothing that helps.
TEST_F(HandlerCheckTest, RefusesWhatIsNoSourceText) {
  write_handler("good.cu", "    (void)data, (void)length, (void)team;");
  const std::string good = contents("good.cu");
  const auto refused = [&](const std::string& text, int code, const std::string& message) {
    write("odd.cu", text);
    Command& command = check("odd.cu");
    EXPECT_EQ(command.exit_code(), code) << message;
    EXPECT_THAT(command.err(), HasSubstr(message));
  };
  refused(good + std::string("\0 garbage", 9), 1, "has a zero byte at offset " + std::to_string(good.size()));
  refused(good + "/* open", 1, "odd.cu(");
  refused(good + "#if 1\n", 1, "odd.cu(");
  write("tail.cu", good + "// \\");
  EXPECT_EQ(check("tail.cu").exit_code(), 0);
  write("mark.cu", "\xef\xbb\xbf" + good);
  EXPECT_EQ(check("mark.cu").exit_code(), 0);
  write("-dash \"quoted\\.cu", good);
  EXPECT_EQ(check("-- '-dash \"quoted\\.cu'").exit_code(), 0);
  std::filesystem::create_directory(path("folder.cu"));
  EXPECT_THAT(check("folder.cu").err(), HasSubstr("'folder.cu' is a directory"));
  EXPECT_EQ(run("exec ipcq handler check good.cu --arch compute_90").exit_code(), 2);
  Command& own = run("exec ipcq-compiler good.cu --arch sm_90 --output good.cu");
  EXPECT_EQ(own.exit_code(), 2);
  EXPECT_EQ(contents("good.cu"), good);
}

TEST_F(HandlerCheckTest, AnInterruptEndsTheCompilerToo) {
  ASSERT_EQ(::mkfifo(path("pipe.cu").c_str(), 0600), 0);  // it waits for a text that never comes
  Command& waiting = start("ipcq handler check --arch sm_90 pipe.cu; exit $?");
  const auto compilers = [&] {
    return run("exec pgrep -fc '^[^ ]*ipcq-compiler .*pipe[.]cu' -s " + std::to_string(::getsid(0))).out();
  };
  ASSERT_TRUE(eventually([&] { return compilers() == "1\n"; })) << compilers();
  ASSERT_EQ(::kill(-waiting.pid(), SIGINT), 0);
  EXPECT_EQ(waiting.exit_code(), 130);
  EXPECT_TRUE(eventually([&] { return compilers() == "0\n"; })) << compilers();
}

TEST_F(HandlerCheckTest, SaysWhatIsMissingOnThisMachine) {
  write_handler("nothing.cu", "    (void)data, (void)length, (void)team;");
  Command& no_file = check("none.cu");
  EXPECT_EQ(no_file.exit_code(), 3);
  EXPECT_THAT(no_file.err(), HasSubstr("cannot read 'none.cu'"));
  Command& no_nvrtc = run("IPCQ_NVRTC=/nowhere/libnvrtc.so exec ipcq handler check nothing.cu --arch sm_90");
  EXPECT_EQ(no_nvrtc.exit_code(), 6);
  EXPECT_THAT(no_nvrtc.err(), HasSubstr("was not found (tried /nowhere/libnvrtc.so: cannot open shared object file"));
  Command& doctor = run("IPCQ_RUNNER=/nowhere IPCQ_NVRTC=/nowhere/libnvrtc.so exec ipcq doctor");
  EXPECT_EQ(doctor.exit_code(), 0);
  EXPECT_THAT(doctor.out(), HasSubstr("WARN  handlers"));
  EXPECT_THAT(run("IPCQ_RUNNER=/nowhere exec ipcq doctor").out(),
              testing::AllOf(testing::ContainsRegex("OK    handlers +NVRTC 1[23]\\.[0-9], /"),
                             testing::ContainsRegex("OK    handlers, linked +nvJitLink 1[23]\\.[0-9], /")));
  Command& no_such_gpu = run("exec ipcq handler check nothing.cu --arch sm_1");
  EXPECT_EQ(no_such_gpu.exit_code(), 6);
  EXPECT_THAT(no_such_gpu.err(), HasSubstr("invalid value for --gpu-architecture"));
  Command& no_compiler = run("IPCQ_COMPILER=/nowhere/ipcq-compiler exec ipcq handler check nothing.cu --arch sm_90");
  EXPECT_EQ(no_compiler.exit_code(), 1);
  EXPECT_THAT(no_compiler.err(), HasSubstr("/nowhere/ipcq-compiler"));
}

}  // namespace
}  // namespace ipcq_test
