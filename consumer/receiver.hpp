// Receiver: receives messages, and verifies, writes and measures them on the CPU, until the stream or the count ends,
// no message comes within the patience, or the output's reader closes it. For one thread.
#pragma once

#include <ipcq/consumer.hpp>
#include <optional>
#include <span>

#include "output.hpp"
#include "program/pattern.hpp"
#include "program/progress.hpp"
#include "program/sequence_check.hpp"
#include "run.hpp"

namespace ipcq::program {

class Receiver {
 public:
  // pattern, output: null without verification, without output.
  Receiver(Consumer& consumer, Limits limits, SequenceCheck& sequences, Pattern4k* pattern, Output* output,
           Progress& progress, Tally& tally);

  Ending run();

 private:
  std::optional<Ending> take(std::span<Message> batch);

  Consumer& consumer_;
  Limits limits_;
  SequenceCheck& sequences_;
  Pattern4k* pattern_;
  Output* output_;
  Progress& progress_;
  Tally& tally_;
};

}  // namespace ipcq::program
