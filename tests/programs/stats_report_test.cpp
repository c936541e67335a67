// A broker's counters as JSON and as tables: what is told of lines and of record batches.
#include "program/stats_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

namespace ipcq::program {
namespace {

using testing::AllOf;
using testing::HasSubstr;

QueueStats packed_queue() {
  QueueStats queue;
  queue.name = "q";
  queue.batch = "records";
  queue.published = 3;
  queue.records = 3001;
  queue.lines = 64;
  queue.line_bytes = 192;
  queue.inline_bytes = 160;
  GroupStats group;
  group.name = "default";
  group.published = 3;
  group.redelivered = 7;
  group.records = 2002;
  queue.groups.push_back(group);
  EndpointStats endpoint;
  endpoint.role = "consumer";
  endpoint.state = "running";
  endpoint.messages = 2;
  endpoint.records = 1003;
  endpoint.held = 6;
  queue.endpoints.push_back(endpoint);
  return queue;
}

// The words of the line that begins with `first`.
std::vector<std::string> words_of_line(const std::string& text, const std::string& first) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<std::string> found;
    for (std::string word; words >> word;) found.push_back(word);
    if (!found.empty() && found[0] == first) return found;
  }
  return {};
}

// What stands in the row below the column of this name. Of a column in front of one whose cells are two words.
std::string below(const std::string& text, const std::string& table, const std::string& row, const std::string& name) {
  const auto head = words_of_line(text, table);
  const auto cells = words_of_line(text, row);
  for (std::size_t i = 0; i < head.size() && i < cells.size(); ++i) {
    if (head[i] == name) return cells[i];
  }
  return "no such row or column";
}

TEST(StatsReport, JsonTellsRecordsBesideMessages) {
  EXPECT_THAT(to_json(packed_queue()).text(),
              AllOf(HasSubstr("\"batch\":\"records\""), HasSubstr("\"published\":3"), HasSubstr("\"records\":3001"),
                    HasSubstr("\"records\":2002"), HasSubstr("\"records\":1003")));
}

TEST(StatsReport, BothFormsTellTheSizesOfLines) {
  EXPECT_THAT(to_json(packed_queue()).text(),
              AllOf(HasSubstr("\"line_bytes\":192"), HasSubstr("\"inline_bytes\":160")));
  EXPECT_THAT(to_text(packed_queue()), HasSubstr("; 64 lines of 192 B, 160 B inline;"));
}

TEST(StatsReport, ATextTellsHowAQueueSendsManyPayloadsAndHowManyRecordsThatMade) {
  EXPECT_THAT(to_text(packed_queue()), AllOf(HasSubstr("; batch records\n"), HasSubstr("published 3 ("),
                                             HasSubstr("/s), records 3001, processed 0")));
}

TEST(StatsReport, TablesHaveAColumnForRecords) {
  const std::string text = to_text(packed_queue());
  EXPECT_EQ(below(text, "GROUP", "default", "RECORDS"), "2002");
  EXPECT_EQ(below(text, "GROUP", "default", "REDELIVERED"), "7");
  EXPECT_EQ(below(text, "ENDPOINT", "consumer", "MESSAGES"), "2");
  EXPECT_EQ(below(text, "ENDPOINT", "consumer", "RECORDS"), "1003");
}

}  // namespace
}  // namespace ipcq::program
