// Which headers a source includes, as ipcq-compiler sees it without compiling.
#include "reached_headers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace ipcq::compiler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(IncludedNames, AreFoundHoweverADirectiveIsWritten) {
  const IncludedNames found = included_names(
      "#include <a>\n  #\tinclude\"b\"\r\n%: include <c>\n/* so */ # /* and */ include /* so */ \"d\" // on\n"
      "end of a comment */ #include \"e\"\n#inc\\\nlude \\  \n <f>\n#include_next <g>\n#import <h>\n"
      "#if __has_include(<i>) || __has_include ( \"j\" )\n#  include <k>\n#endif");
  EXPECT_THAT(found.names, ElementsAre("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"));
  EXPECT_EQ(found.unknown, "");
}

TEST(IncludedNames, AreNotFoundInOtherText) {
  const IncludedNames found = included_names(
      "// #include MACRO\n * an #include MACRO is meant\n#define include_it 1\n#includes <a>\nint include = 1;\n"
      "#ifdef __has_include\n#endif\n#pragma once\n");
  EXPECT_THAT(found.names, IsEmpty());
  EXPECT_EQ(found.unknown, "");
}

TEST(IncludedNames, AreUnknownWhereTheyCannotBeRead) {
  for (const char* text : {"#include MACRO\n", "#include NAME(x)\n", "#if __has_include(MACRO)\n#endif\n",
                           "# /* from\nhere */ include <a>\n", "#include /* from\nhere */ <a>\n", "#include \"a\n",
                           "#include \\\nMACRO\n", "asm(\".incbin \\\"a\\\"\");\n"}) {
    EXPECT_NE(included_names(text).unknown, "") << text;
  }
}

class ReachedHeadersTest : public testing::Test {
 protected:
  ReachedHeadersTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "ipcq-headers.XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    std::filesystem::create_directories(root_ / "own");
    std::filesystem::create_directories(root_ / "more");
  }
  ~ReachedHeadersTest() override { std::filesystem::remove_all(root_); }

  void write(const std::string& name, const std::string& text) const { std::ofstream(root_ / name) << text; }
  // Paths below the root.
  std::vector<std::string> reached(const std::string& text) const {
    std::vector<std::string> all;
    for (const auto& h : reached_headers(text, {root_ / "own", root_ / "more"}).headers) {
      all.push_back(h.path.substr(root_.string().size() + 1));
    }
    return all;
  }
  std::filesystem::path root_;
};

TEST_F(ReachedHeadersTest, AreThoseOfHeadersToo) {
  write("own/a.hpp", "#include <b.hpp>\n#include <vector>\n");
  write("more/b.hpp", "#include \"c.hpp\"\n#include \"../own/a.hpp\"\n");
  write("more/c.hpp", "#include \"../more/c.hpp\"\n#include \"../more/../more/b.hpp\"\n");  // circles
  EXPECT_THAT(reached("#include \"a.hpp\"\n"), ElementsAre("own/a.hpp", "more/b.hpp", "more/c.hpp"));
}

TEST_F(ReachedHeadersTest, AreAllOfTheName) {
  write("more/a.hpp", "");
  EXPECT_THAT(reached("#include <a.hpp>\n"), ElementsAre("more/a.hpp"));
  write("own/a.hpp", "");
  EXPECT_THAT(reached("#include <a.hpp>\n"), ElementsAre("own/a.hpp", "more/a.hpp"));
  EXPECT_THAT(reached("#include \"" + (root_ / "own/a.hpp").string() + "\"\n"), ElementsAre("own/a.hpp"));
}

// A link's own folder is where its quoted headers are looked for first.
TEST_F(ReachedHeadersTest, IncludesOfALinkAreLookedForWhereItLies) {
  write("own/real.hpp", "#include \"beside.hpp\"\n");
  std::filesystem::create_directories(root_ / "more/deep");
  std::filesystem::create_symlink(root_ / "own/real.hpp", root_ / "more/deep/link.hpp");
  write("more/deep/beside.hpp", "");
  EXPECT_THAT(reached("#include <real.hpp>\n#include <deep/link.hpp>\n"),
              ElementsAre("own/real.hpp", "more/deep/link.hpp", "more/deep/beside.hpp"));
}

TEST_F(ReachedHeadersTest, OfAMacroInAHeaderThereMayBeOthers) {
  write("own/a.hpp", "#include NAME\n");
  EXPECT_THAT(reached_headers("#include <a.hpp>\n", {root_ / "own"}).unknown, HasSubstr("macro"));
  EXPECT_EQ(reached_headers("#include <b.hpp>\n", {root_ / "own"}).unknown, "");
}

}  // namespace
}  // namespace ipcq::compiler
