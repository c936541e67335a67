// The images that ipcq-compiler keeps: which it takes again, and which not. The compiler is mostly a script that counts
// how often it is called, and says so in what it makes.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include <nlohmann/json.hpp>

#include "programs/commands.hpp"
#include "programs/handler_text.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

struct Made {
  bool cached = false;
  std::string image, not_kept, err;
};

class HandlerCacheTest : public ProgramTest {
 protected:
  HandlerCacheTest() {
    fs::create_directory(path("more"));
    write("mine.cu", handler_text(kNoWork, "#include \"near.hpp\"\n"));
    write("near.hpp", "#include <far.hpp>\n");
    write("more/far.hpp", "// one\n");
    write("counts",
          "#!/bin/bash\n"
          "while [[ $1 != -o ]]; do shift; done\n"
          "cat >/dev/null\n"
          "echo call >>\"${0%counts}calls\"\n"
          "[[ ! -e ${0%counts}meanwhile ]] || source \"${0%counts}meanwhile\"\n"
          "printf 'image %s' \"$(wc -l <\"${0%counts}calls\")\" >\"$2\"\n");
    ::chmod(path("counts").c_str(), 0700);
  }

  // What stands before the program's name; and the arguments.
  std::string script(const std::string& arguments, const std::string& before) const {
    return "export XDG_CACHE_HOME=$PWD/cache IPCQ_CXX=$PWD/counts; " + before +
           " exec ipcq-compiler mine.cu --host --cache --json -I more --output " + output_ + " " + arguments;
  }
  Made compile(const std::string& arguments = "", const std::string& before = "") {
    Command& command = run(script(arguments, before));
    EXPECT_EQ(command.exit_code(), 0) << command.err();
    const auto said = nlohmann::json::parse(command.out(), nullptr, false);
    Made made;
    made.cached = said.value("cached", false);
    made.not_kept = said.value("not_kept", "");
    made.image = contents("image");
    made.err = command.err();
    return made;
  }
  void expect_cached(const std::string& image, const std::string& arguments = "", const std::string& before = "") {
    const Made made = compile(arguments, before);
    EXPECT_TRUE(made.cached) << arguments << before;
    EXPECT_EQ(made.image, image);
    EXPECT_EQ(made.err, "");
  }
  void expect_compiled(const std::string& image, const std::string& arguments = "", const std::string& before = "") {
    const Made made = compile(arguments, before);
    EXPECT_FALSE(made.cached) << arguments << before;
    EXPECT_EQ(made.image, image);
    EXPECT_EQ(made.not_kept, "");
    EXPECT_EQ(made.err, "");
  }
  fs::path folder() const { return path("cache/ipcq/handlers"); }
  std::vector<fs::path> entries() const {
    std::vector<fs::path> all;
    for (const auto& one : fs::directory_iterator(folder())) all.push_back(one.path());
    return all;
  }
  std::string output_ = "image";  // where the image is to go
  static void set_age(const fs::path& file, std::chrono::seconds age) {
    fs::last_write_time(file, fs::file_time_type::clock::now() - age);
  }
};

TEST_F(HandlerCacheTest, TakesAnImageThatWasMadeBefore) {
  expect_compiled("image 1");
  expect_cached("image 1");
  ASSERT_EQ(entries().size(), 1u);
  EXPECT_EQ(fs::status(entries()[0]).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(fs::status(path("cache")).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(folder()).permissions(), fs::perms::owner_all);
  expect_cached("image 1", "--image-fd 5 5<>other");
  EXPECT_EQ(contents("other"), "image 1");
  Command& text =
      run("export XDG_CACHE_HOME=$PWD/cache IPCQ_CXX=$PWD/counts; exec ipcq-compiler mine.cu --host --cache -I more");
  EXPECT_EQ(text.out(), "mine.cu: compiles for the host (a C++ compiler, cached)\n");
  Command& without = run("IPCQ_CXX=$PWD/counts exec ipcq-compiler mine.cu --host --json -I more");
  EXPECT_FALSE(nlohmann::json::parse(without.out()).at("cached"));
}

TEST_F(HandlerCacheTest, CompilesAnewWhateverChanges) {
  expect_compiled("image 1");
  write("more/far.hpp", "// two\n");
  expect_compiled("image 2");
  write("near.hpp", "#include <far.hpp>\n#include <later.hpp>\n");
  expect_compiled("image 3");
  write("more/later.hpp", "\n");  // now it is there
  expect_compiled("image 4");
  write("mine.cu", handler_text(kNoWork, "#include \"near.hpp\"\n//\n"));
  expect_compiled("image 5");
  expect_compiled("image 6", "-D LEVEL=1");
  expect_compiled("image 7", "-D LEVEL=2");
  expect_compiled("image 8", "-I .");
  write("counts", contents("counts") + "\n#\n");
  expect_compiled("image 9");
  fs::create_directory(path("system"));
  expect_compiled("image 10", "", "CPATH=$PWD/system");
  write("system/far.hpp", "// four\n");
  expect_compiled("image 11", "", "CPATH=$PWD/system");
  // Each as it was is still there.
  expect_cached("image 9");
  write("more/far.hpp", "// three\n");
  expect_compiled("image 12");
  write("more/far.hpp", "// two\n");
  expect_cached("image 9");
}

TEST_F(HandlerCacheTest, TakesItWithTheRealCompilerToo) {
  write("near.hpp", "inline constexpr int kLevel = 1;\n");
  write("mine.cu",
        handler_text("#warning so it is\n    data[0] = std::byte{kLevel};\n" + kNoWork, "#include \"near.hpp\"\n"));
  const auto real = [&] { return compile("", "unset IPCQ_CXX;"); };
  const Made first = real(), again = real();
  EXPECT_FALSE(first.cached);
  EXPECT_TRUE(again.cached);
  EXPECT_EQ(again.image.substr(0, 4),
            "\x7f"
            "ELF");
  EXPECT_EQ(again.image, first.image);
  EXPECT_THAT(again.err, HasSubstr("mine.cu:7:2: warning: "));
  EXPECT_EQ(again.err, first.err);
  write("near.hpp", "inline constexpr int kLevel = 2;\n");
  const Made other = real();
  EXPECT_FALSE(other.cached);
  EXPECT_NE(other.image, first.image);
}

TEST_F(HandlerCacheTest, KeepsNothingWhereHeadersAreNotKnown) {
  write("near.hpp", "#define NAME <far.hpp>\n#include NAME\n");
  for (int i = 1; i <= 2; ++i) {
    const Made made = compile();
    EXPECT_FALSE(made.cached);
    EXPECT_EQ(made.image, "image " + std::to_string(i));
    EXPECT_THAT(made.not_kept, HasSubstr("macro"));
  }
  EXPECT_TRUE(entries().empty());
  // Who knows which of both the compiler has read.
  write("near.hpp", "#include <far.hpp>\n");
  write("meanwhile", "echo '// changed' >more/far.hpp\n");
  EXPECT_EQ(compile().not_kept, "a header has changed meanwhile");
  EXPECT_TRUE(entries().empty());
}

TEST_F(HandlerCacheTest, CompilesAnewWhatIsDamaged) {
  expect_compiled("image 1");
  const fs::path entry = entries().at(0);
  const std::string whole = contents("cache/ipcq/handlers/" + entry.filename().string());
  int calls = 1;
  const auto damaged = [&](const std::string& text) {
    std::ofstream(entry, std::ios::binary) << text;
    const std::string image = "image " + std::to_string(++calls);
    expect_compiled(image);
    expect_cached(image);
  };
  damaged("");
  damaged(whole.substr(0, whole.size() - 1));
  damaged(whole.substr(0, 20));
  damaged(whole + "x");
  std::string flipped = whole;
  flipped.back() = '9';
  damaged(flipped);
  damaged("another-file-1" + whole.substr(14));
  fs::resize_file(entry, std::uintmax_t(1) << 40);  // sparse
  expect_compiled("image 8");
}

TEST_F(HandlerCacheTest, TrustsNoEntryThatIsNotThisUsersAlone) {
  expect_compiled("image 1");
  const fs::path entry = entries().at(0);
  const fs::path elsewhere = path("elsewhere");
  fs::copy_file(entry, elsewhere);
  fs::remove(entry);
  fs::create_symlink(elsewhere, entry);
  expect_compiled("image 2");
  EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(entry)));  // in the link's place
  fs::remove(elsewhere);
  expect_cached("image 2");
  fs::permissions(entry, fs::perms::group_write, fs::perm_options::add);
  expect_compiled("image 3");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(entry.c_str(), 1, 1), 0);
    expect_compiled("image 4");
  } else {
    expect_compiled("image 4", "-D NOTHING");
  }
  fs::remove(entry);
  ASSERT_EQ(::mkfifo(entry.c_str(), 0600), 0);
  expect_compiled("image 5");
  fs::remove(entry);
  fs::create_directories(entry / "full");
  const Made made = compile();
  EXPECT_EQ(made.image, "image 6");
  EXPECT_THAT(made.err, HasSubstr("cannot keep the handler's image in '" + folder().string() + "': "));
}

TEST_F(HandlerCacheTest, UsesNoFolderThatIsNotThisUsersAlone) {
  expect_compiled("image 1");
  int calls = 1;
  const auto refused = [&](const fs::path& where, const std::string& why) {
    const Made made = compile();
    EXPECT_FALSE(made.cached) << why;
    EXPECT_EQ(made.image, "image " + std::to_string(++calls)) << why;
    EXPECT_THAT(made.not_kept, HasSubstr("'" + where.string() + "'" + why));
    EXPECT_THAT(made.err, HasSubstr("no cache of handlers: '" + where.string() + "'" + why));
  };
  for (const fs::path& where : {folder(), folder().parent_path()}) {
    for (const auto who : {fs::perms::group_write, fs::perms::others_write}) {
      fs::permissions(where, who, fs::perm_options::add);
      refused(where, " is not safe: others may write there (mode 7");
      fs::permissions(where, who, fs::perm_options::remove);
    }
    if (::geteuid() == 0) {
      ASSERT_EQ(::chown(where.c_str(), 1, 1), 0);
      refused(where, " is not safe: it belongs to user 1, and not to 0");
      ASSERT_EQ(::chown(where.c_str(), 0, 0), 0);
    }
  }
  expect_cached("image 1");
  fs::remove_all(folder());
  write("cache/ipcq/handlers", "a file");
  refused(folder(), ": Not a directory");
}

TEST_F(HandlerCacheTest, LiesWhereTheEnvironmentSays) {
  const auto none = [&](const std::string& before) {
    const Made made = compile("", before);
    EXPECT_EQ(made.not_kept, "neither XDG_CACHE_HOME nor HOME names a folder") << before;
    EXPECT_EQ(made.err, "") << before;
  };
  none("unset XDG_CACHE_HOME HOME;");
  none("XDG_CACHE_HOME= HOME=");
  none("XDG_CACHE_HOME=cache HOME=more");
  none("unset XDG_CACHE_HOME; HOME=$PWD/nobody");
  EXPECT_FALSE(fs::exists(path("nobody")));
  EXPECT_FALSE(fs::exists(path("cache")));
  expect_compiled("image 5", "", "unset XDG_CACHE_HOME; HOME=$PWD/more");
  expect_cached("image 5", "", "XDG_CACHE_HOME=$PWD/more/.cache HOME=/nowhere");
  expect_compiled("image 6", "", "XDG_CACHE_HOME=$PWD/a/b/c");
  expect_cached("image 6", "", "XDG_CACHE_HOME=$PWD/a/b/c");
}

TEST_F(HandlerCacheTest, SeveralAtOnceAllGetAnImage) {
  write("meanwhile", "sleep 0.1\n");
  std::map<std::string, Command*> all;
  for (const char* output : {"a", "b", "c", "d"}) {
    output_ = output;
    all[output] = &start(script("", ""));
  }
  for (const auto& [output, command] : all) {
    EXPECT_EQ(command->exit_code(), 0);
    EXPECT_EQ(command->err(), "");
    EXPECT_THAT(contents(output), testing::StartsWith("image ")) << output;
  }
  EXPECT_EQ(entries().size(), 1u);
  EXPECT_TRUE(compile().cached);
}

TEST_F(HandlerCacheTest, AKilledCompilerLeavesNoEntry) {
  write("meanwhile", ": >started; sleep 100\n");
  Command& killed = start(script("", ""));
  ASSERT_TRUE(eventually([&] { return fs::exists(path("started")); })) << killed.err();
  killed.signal(SIGKILL);
  EXPECT_EQ(killed.exit_code(), 128 + SIGKILL);
  EXPECT_TRUE(entries().empty());
  fs::remove(path("meanwhile"));
  expect_compiled("image 2");
  expect_cached("image 2");
}

TEST_F(HandlerCacheTest, RemovesWhatWasNotUsedForTheLongestTime) {
  expect_compiled("image 1");
  expect_compiled("image 2", "-D SECOND");
  const auto add = [&](const std::string& name, std::chrono::seconds age, unsigned mebibytes) {
    std::ofstream(folder() / name) << "x";
    fs::resize_file(folder() / name, std::uintmax_t(mebibytes) << 20);
    set_age(folder() / name, age);
  };
  const std::string uuid = "-1111-5111-8111-111111111111";
  for (const fs::path& entry : entries()) set_age(entry, 5h);
  expect_cached("image 1");  // used now
  add("aaaaaaaa" + uuid + ".cubin", 4h, 200);
  add("bbbbbbbb" + uuid + ".so", 3h, 100);
  add("cccccccc" + uuid + ".so", 10s, 100);            // too young
  add("dddddddd" + uuid + ".so.123.456.new", 2h, 1);   // left over
  add("eeeeeeee" + uuid + ".so.123.456.new", 10s, 1);  // somebody writes it
  add("somebody's.so", 9h, 100);
  add("ffffffff" + uuid + ".so.bak", 9h, 100);
  expect_compiled("image 3", "-D THIRD");
  EXPECT_FALSE(fs::exists(folder() / ("aaaaaaaa" + uuid + ".cubin")));
  EXPECT_TRUE(fs::exists(folder() / ("bbbbbbbb" + uuid + ".so")));  // now there is room
  EXPECT_TRUE(fs::exists(folder() / ("cccccccc" + uuid + ".so")));
  EXPECT_FALSE(fs::exists(folder() / ("dddddddd" + uuid + ".so.123.456.new")));
  EXPECT_TRUE(fs::exists(folder() / ("eeeeeeee" + uuid + ".so.123.456.new")));
  EXPECT_TRUE(fs::exists(folder() / "somebody's.so"));
  EXPECT_TRUE(fs::exists(folder() / ("ffffffff" + uuid + ".so.bak")));
  expect_cached("image 1");
  expect_compiled("image 4", "-D SECOND");  // the oldest, and first to go
  expect_cached("image 3", "-D THIRD");
}

}  // namespace
}  // namespace ipcq_test
