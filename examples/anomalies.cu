// Finds points that stand out from the window of points before them: of each message, a batch of points, it makes one
// byte for each, 1 where |point - mean| > limit x standard deviation of the window. The window is the queue's state,
// and goes on from batch to batch.
//
// Exact: points are integers of 16 bits at most, window and limit small, and all sums integers.
#include <ipcq/handler.hpp>

struct Anomalies {
  int window = 256;  // points, 1024 at most
  int limit = 4;

  static constexpr auto sharing = ipcq::Sharing::block;
  static constexpr unsigned kMostWindow = 1024;
  static constexpr unsigned kMostBatch = 1024;
  static constexpr unsigned scratch_bytes = (kMostWindow + kMostBatch) * sizeof(int);

  // The state: how many points there were, and the last of them, the oldest first.
  struct Past {
    std::uint64_t seen;
    std::uint64_t reserved;
    int point[kMostWindow];
  };

  IPCQ_HOST_DEVICE bool accepts(std::uint64_t bytes) const {
    return bytes % sizeof(int) == 0 && bytes <= kMostBatch * sizeof(int) && window > 1 &&
           window <= static_cast<int>(kMostWindow);
  }

  template <class Team>
  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& m, Team team, ipcq::State state) const {
    auto* const past = reinterpret_cast<Past*>(state.data);
    if (state.bytes < sizeof(Past)) return m.fail(1);
    const auto batch = m.elements<int>();
    const auto width = static_cast<std::uint64_t>(window);
    const std::uint64_t seen = past->seen;
    // The window, and behind it the batch.
    auto* const all = reinterpret_cast<int*>(team.scratch());
    for (std::uint64_t i = team.rank(); i < width; i += team.size()) all[i] = past->point[i];
    for (std::uint64_t i = team.rank(); i < batch.size(); i += team.size()) all[width + i] = batch[i];
    team.sync();
    // A run of neighbours for each lane: the sums are made once, and then follow the window.
    const std::uint64_t each = (batch.size() + team.size() - 1) / team.size();
    const std::uint64_t first = team.rank() * each;
    const std::uint64_t end = first + each < batch.size() ? first + each : batch.size();
    long long sum = 0, squares = 0;
    for (std::uint64_t i = first; first < end && i < first + width; ++i) add(all[i], 1, sum, squares);
    for (std::uint64_t i = first; i < end; ++i) {
      const bool full = seen + i >= width;
      reinterpret_cast<unsigned char*>(m.data)[i] = full && stands_out(all[width + i], sum, squares) ? 1 : 0;
      add(all[i], -1, sum, squares);
      add(all[width + i], 1, sum, squares);
    }
    for (std::uint64_t i = team.rank(); i < width; i += team.size()) past->point[i] = all[batch.size() + i];
    if (team.rank() == 0) past->seen = seen + batch.size();
    m.resize(batch.size());
  }

 private:
  IPCQ_HOST_DEVICE static void add(long long point, int sign, long long& sum, long long& squares) {
    sum += sign * point;
    squares += sign * point * point;
  }
  // window^2 x (point - mean)^2 > limit^2 x window^2 x variance
  IPCQ_HOST_DEVICE bool stands_out(long long point, long long sum, long long squares) const {
    const long long away = window * point - sum;
    return away * away > static_cast<long long>(limit) * limit * (window * squares - sum * sum);
  }
};
IPCQ_HANDLER(Anomalies, window, limit)
