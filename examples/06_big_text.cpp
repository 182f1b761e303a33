// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A text is analysed line by line, and other files are written on the way. It reads like the serial program that it is; but
// the text is read ahead and the files are written behind, so the calculation waits for no disk. Memory does not grow with the
// text.
#include <errand/io.hpp>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include <unistd.h>

struct request {
  std::string_view service;
  int milliseconds = 0;
};

// "orders 15"
request parse(std::string_view line) {
  auto const space = line.find(' ');
  request r{.service = line.substr(0, space)};
  std::from_chars(line.data() + space + 1, line.data() + line.size(), r.milliseconds);
  return r;
}

int main() {
  auto const directory = std::filesystem::temp_directory_path() / ("errand-example-06-" + std::to_string(::getpid()));
  std::filesystem::create_directories(directory);

  // The text; a real one would be there already, and have some GB.
  errand::file_writer log{directory / "requests.log"};
  for (int i = 0; i < 100'000; ++i) log.print(i % 3 == 0 ? "orders" : "search", ' ', i % 1000, '\n');
  log.close();

  // The analysis.
  std::map<std::string, long, std::less<>> total;
  errand::file_writer slow{directory / "slow.log"};
  errand::file_writer table{directory / "table.csv"};
  for (std::string_view line : errand::lines{directory / "requests.log"}) {
    auto const [service, milliseconds] = parse(line);
    if (auto const known = total.find(service); known != total.end())
      known->second += milliseconds;
    else
      total.emplace(service, milliseconds);
    if (milliseconds >= 990) slow << line << '\n';
    table.print(service, ',', milliseconds, '\n');
  }
  slow.close();  // waits until it is written, and says if something went wrong
  table.close();

  long all = 0;
  for (auto const& [service, milliseconds] : total) {
    std::printf("%s: %ld ms\n", service.c_str(), milliseconds);
    all += milliseconds;
  }

  // Where the order of the lines does not matter, all processors can share them.
  long const again = errand::reduce_lines(
      directory / "requests.log", [] { return 0L; },
      [](long& sum, std::string_view line) { sum += parse(line).milliseconds; }, [](long a, long b) { return a + b; });

  auto const slow_bytes = errand::read_file(directory / "slow.log").get().size();
  std::printf("%ld ms in all, by all processors %ld; %zu bytes of slow requests\n", all, again, slow_bytes);
  std::filesystem::remove_all(directory);
  return all == again && slow_bytes == 1000 * std::string_view{"search 990\n"}.size() ? 0 : 1;
}
