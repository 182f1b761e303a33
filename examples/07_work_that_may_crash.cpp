// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A parser that one would rather not trust is run over a folder. Some files crash it, one makes it run for ever, one makes it
// eat all memory. It runs in worker processes with limits: each such file costs its own result, and the report says why.
#include <errand/process.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

using namespace std::chrono_literals;
namespace fs = std::filesystem;

// ---- the parser: right for right files

std::map<std::string, long> const weights = {{"apple", 180}, {"pear", 170}, {"melon", 1500}};

long weight_of(std::string const& fruit) {
  auto const found = weights.find(fruit);
  long const volatile* const weight = found != weights.end() ? &found->second : nullptr;
  return *weight;  // of a fruit that it does not know: null
}

long box_in_box(long depth) {
  std::string const label = "box " + std::to_string(depth);
  return depth == 0 ? 0 : static_cast<long>(label.size()) + box_in_box(depth - 1);  // below zero there is no end
}

// Grams: "apple 3" or "melon 1" a line. "box" takes a depth, "share" a number of people, "note" a length.
long parse(std::string const& path) {
  std::ifstream list{path};
  long grams = 0;
  for (std::string word, number; list >> word >> number;) {
    if (number.find_first_not_of("-0123456789") != std::string::npos) throw std::invalid_argument{number + " is no number"};
    long const n = std::stol(number);
    if (word == "box") {
      grams += box_in_box(n);
    } else if (word == "share") {
      for (volatile long left = grams; left > 0;) left = left - n;  // among nobody it is never at an end
    } else if (word == "note") {
      std::string note = " ";
      while (note.size() < static_cast<std::size_t>(n)) note += note;
      grams += static_cast<long>(note.size()) / 100;
    } else if (n < 0) {
      std::abort();
    } else {
      grams += n * weight_of(word);
    }
  }
  return grams;
}

// ---- the program

std::string in_words(errand::future<long>& result) {
  try {
    return std::to_string(result.get()) + " g";
  } catch (errand::process_died const& e) {
    return std::string{"crashed: "} + (e.signal() != 0 ? ::strsignal(e.signal()) : "left by exit");
  } catch (errand::timed_out const&) {
    return "ran for too long, and was killed";
  } catch (std::bad_alloc const&) {
    return "out of memory";
  } catch (std::exception const& e) {
    return std::string{"refused: "} + e.what();
  }
}

int main() {
  auto const folder = fs::temp_directory_path() / ("errand-example-07-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::vector<std::pair<char const*, char const*>> const lists = {
      {"breakfast.txt", "apple 1\npear 2\n"}, {"debts.txt", "apple 2\npear -3\n"},
      {"diary.txt", "note 999999999999\n"},   {"dinner.txt", "melon 1\nbox 3\nshare 4\n"},
      {"empty.txt", ""},                      {"exotic.txt", "apple 1\nkumquat 5\n"},
      {"hermit.txt", "melon 2\nshare 0\n"},   {"matryoshka.txt", "apple 7\nbox -1\n"},
      {"picnic.txt", "note 200\nmelon 3\n"},  {"verbal.txt", "apple three\n"}};
  for (auto const& [name, text] : lists) std::ofstream{folder / name} << text;

  errand::process_pool careful{2, {.memory = 16 << 20, .time = 500ms}};
  std::vector<errand::future<long>> results;
  for (auto const& [name, text] : lists) results.push_back(errand::async(careful, parse, (folder / name).string()));

  int good = 0;
  for (std::size_t i = 0; i != lists.size(); ++i) {
    auto const outcome = in_words(results[i]);
    good += outcome.ends_with(" g") ? 1 : 0;
    std::printf("%-16s%s\n", lists[i].first, outcome.c_str());
  }
  std::printf("\n%d of %zu files were parsed\n%s\n", good, lists.size(), to_string(careful.statistics()).c_str());
  fs::remove_all(folder);
  return good == 4 ? 0 : 1;
}
