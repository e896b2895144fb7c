// Runs a fuzz target over the files of a folder, where no fuzzer is built: what once crashed stays
// tested.
//
//   replay FOLDER [MUTANTS [FIRST]]
//
// MUTANTS files more are made from those by chance, each from its own number, beginning with FIRST.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

std::vector<Input> inputs_in(const char* folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry);
  std::sort(paths.begin(), paths.end());
  std::vector<Input> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    inputs.emplace_back(bytes.begin(), bytes.end());
    std::printf("%s\n", path.c_str());
    std::fflush(stdout);  // the last line names the one that crashed
    LLVMFuzzerTestOneInput(inputs.back().data(), inputs.back().size());
  }
  return inputs;
}

Input mutant(const std::vector<Input>& inputs, std::uint64_t number) {
  std::mt19937_64 random(number);
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  auto out = inputs[pick(inputs.size())];
  for (auto edits = 1 + pick(6); edits > 0; --edits) {
    const auto at = pick(out.size() + 1);
    const auto place = out.begin() + static_cast<std::ptrdiff_t>(at);
    const auto& other = inputs[pick(inputs.size())];
    switch (pick(4)) {
      case 0:
        out.insert(place, static_cast<std::uint8_t>(random()));
        break;
      case 1:
        out.erase(place, std::min(place + static_cast<std::ptrdiff_t>(1 + pick(4)), out.end()));
        break;
      case 2:
        out.insert(place, other.begin(),
                   other.begin() + static_cast<std::ptrdiff_t>(pick(other.size() + 1)));
        break;
      default:
        if (at < out.size()) out[at] = static_cast<std::uint8_t>(random());
    }
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const auto inputs = argc > 1 ? inputs_in(argv[1]) : std::vector<Input>();
  if (inputs.empty()) return 1;
  const auto count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  const auto first = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  for (auto number = first; number < first + count; ++number) {
    if ((number - first) % 100 == 0) std::printf("mutants from %llu on\n", number);
    std::fflush(stdout);
    const auto input = mutant(inputs, number);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu inputs and %llu mutants of them\n", inputs.size(), count);
}
