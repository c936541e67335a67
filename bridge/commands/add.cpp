#include "commands/add.hpp"

#include <chrono>
#include <cmath>
#include <cstddef>
#include <ipcq/error.hpp>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/input.hpp"
#include "program/line_splitter.hpp"
#include "program/logging.hpp"
#include "program/print.hpp"
#include "program/program.hpp"
#include "redis/connection.hpp"
#include "redis/scripts.hpp"
#include "server_options.hpp"
#include "streams/entry.hpp"
#include "tasks/keys.hpp"

namespace ipcq::bridge {
namespace {

constexpr std::size_t kLongestLine = 64U << 20;
constexpr std::size_t kUnderWay = 256;  // tasks that the server has not confirmed
constexpr std::chrono::seconds kPatience{10};

struct AddOptions {
  ServerOptions server;
  std::string stream, field = "payload", reply_to, key;
  std::optional<std::string> payload, input;
  std::vector<std::string> fields;
  std::optional<double> delay;
  double key_ttl = 86400;
  bool lines = false;
};

void describe(program::CommandLine& line, AddOptions& o) {
  line.add_option("STREAM", o.stream, "Stream that the tasks go to").required().check(program::not_empty());
  line.add_option("PAYLOAD", o.payload, "The task's payload; leave it out with --input or --field-value");
  line.add_option("--input", o.input, "File that is the payload, - for standard input").check(program::not_empty());
  line.add_flag("--lines", o.lines, "With --input: each line is a task, without its end");
  line.add_option("--field", o.field, "Field that holds the payload").check(program::not_empty()).show_default();
  line.add_option("--field-value", o.fields, "NAME=VALUE: another field of the tasks; may be repeated")
      .one_value_each()
      .check(program::not_empty());
  line.add_option("--reply-to", o.reply_to, "list:NAME, key:NAME, stream:NAME or channel:NAME for the answer")
      .check(program::not_empty());
  line.add_option("--key", o.key,
                  "Add nothing if a task with this key was added before; with --lines each line has it "
                  "with its number behind it")
      .check(program::not_empty());
  line.add_option("--key-ttl", o.key_ttl, "Seconds that a key is remembered")
      .transform(program::positive())
      .show_default();
  line.add_option("--delay", o.delay, "Seconds until the task is due [now]").transform(program::not_negative());
  describe_server(line, o.server);
}

std::string new_id() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

// Adds tasks in a pipeline, and prints their ids in order.
class Adder {
 public:
  Adder(const AddOptions& o, const Address& address)
      : o_(o), connection_(locate(address, kPatience), "ipcq-redis-add", kPatience) {
    script_.load(connection_);
  }

  void add(const std::optional<std::string_view>& payload, const std::string& key) {
    const auto delayed = delayed_key(o_.stream), record = o_.stream + ":added:" + key;
    const auto ttl = std::to_string(milliseconds(o_.key_ttl));
    const auto delay = o_.delay ? std::to_string(milliseconds(*o_.delay)) : std::string();
    const auto id = o_.delay ? new_id() : std::string();
    Command command{"EVALSHA", script_.digest(), key.empty() ? "2" : "3", o_.stream, delayed};
    if (!key.empty()) command.push_back(record);
    command.insert(command.end(), {ttl, delay, id});
    if (payload) command.insert(command.end(), {o_.field, *payload});
    for (const auto& each : o_.fields) {
      const auto end = each.find('=');
      command.push_back(std::string_view(each).substr(0, end));
      command.push_back(std::string_view(each).substr(end + 1));
    }
    if (!o_.reply_to.empty()) command.insert(command.end(), {"reply-to", o_.reply_to});
    connection_.append(command);
    if (connection_.awaited() >= kUnderWay) take(kUnderWay / 2);
  }
  void finish() { take(0); }

 private:
  std::string failure_text(ReplyView error) const {
    if (error.error_code() == "WRONGTYPE") {
      return fmt::format("stream '{}': the key holds something else; choose another one", o_.stream);
    }
    return fmt::format("stream '{}': {}", o_.stream, error.text());
  }
  static long long milliseconds(double seconds) { return std::llround(seconds * 1000); }

  // Until no more than `rest` are under way.
  void take(std::size_t rest) {
    std::string ids;
    while (connection_.awaited() > rest) {
      const Reply reply = connection_.wait_for_next();
      if (reply.view().is_error()) {
        throw program::Failure(program::kFailure, failure_text(reply.view()));
      }
      ids += fmt::format("{}\n", reply.view()[0].text());
      if (reply.view()[1].number() == 0) {
        program::log::info("stream '{}': task {} was added before", o_.stream, reply.view()[0].text());
      }
    }
    program::print(ids);
  }

  const AddOptions& o_;
  Connection connection_;
  Script script_{"add"};
};

std::string read_all(program::Input& input) {
  std::string text;
  std::vector<std::byte> buffer(64U << 10);
  for (std::size_t n = input.read(buffer); n > 0; n = input.read(buffer)) {
    text.append(reinterpret_cast<const char*>(buffer.data()), n);
  }
  return text;
}

void add_lines(program::Input& input, const AddOptions& o, Adder& adder) {
  program::LineSplitter lines(kLongestLine);
  std::uint64_t number = 0;
  for (bool ended = false; !ended;) {
    const auto space = lines.space();
    if (space.empty()) throw UsageError(fmt::format("{}: a line is longer than 64 MiB", input.name()));
    const std::size_t n = input.read(space);
    ended = n == 0;
    ended ? lines.finish() : lines.fill(n);
    while (auto line = lines.next()) {
      if (line->ends_with('\n')) line->remove_suffix(1);
      adder.add(*line, o.key.empty() ? o.key : fmt::format("{}:{}", o.key, ++number));
    }
  }
}

int run(AddOptions& o, program::Signals& signals) {
  if (o.lines && !o.input) throw UsageError("--lines: says how --input is read; give both");
  if (o.payload && o.input) throw UsageError("PAYLOAD, --input: give one of them");
  if (!o.payload && !o.input && o.fields.empty()) {
    throw UsageError("a task needs a PAYLOAD, an --input or a --field-value");
  }
  for (const auto& each : o.fields) {
    if (each.find('=') == std::string::npos || each[0] == '=') {
      throw UsageError(fmt::format("--field-value: '{}' is no NAME=VALUE", each));
    }
  }
  const auto reply_to = o.reply_to.empty() ? std::nullopt : parse_reply_to(o.reply_to);
  if (!o.reply_to.empty() && (!reply_to || !o.reply_to.starts_with(reply_to->kind + ":"))) {
    throw UsageError(fmt::format(
        "--reply-to: '{}' names no place; write list:NAME, key:NAME, stream:NAME or channel:NAME", o.reply_to));
  }
  try {
    Adder adder(o, address_of(o.server));
    if (!o.input) {
      adder.add(o.payload, o.key);
    } else {
      program::Input input(*o.input, signals);
      if (o.lines) {
        add_lines(input, o, adder);
      } else {
        const auto text = read_all(input);
        adder.add(text, o.key);
      }
    }
    adder.finish();
  } catch (const ConnectionLost& lost) {
    throw program::Failure(program::kFailure,
                           fmt::format("{}; tasks without an id above may have been added or not: with a --key the "
                                       "same command can be given again",
                                       lost.what()));
  }
  return program::kOk;
}

}  // namespace

int add_command(int argc, char** argv) {
  return program::run_program<AddOptions>("ipcq-redis", "Adds tasks to a stream, and prints their ids.", argc, argv,
                                          describe, run);
}

}  // namespace ipcq::bridge
