// Receiver: takes messages until the stream, the count, the patience or the reader of the output ends; verifies, writes
// and measures on the way, on the CPU.
#pragma once

#include <ipcq/consumer.hpp>
#include <optional>
#include <span>

#include "common/pattern.hpp"
#include "common/progress.hpp"
#include "common/sequence_check.hpp"
#include "output.hpp"
#include "run.hpp"

namespace ipcq::program {

class Receiver {
 public:
  // pattern and output: null when not asked for.
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
