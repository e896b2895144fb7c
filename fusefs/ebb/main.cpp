#include <iostream>

#include "base/heap.h"
#include "fusefs/ebb/program.h"

int main(int argc, char** argv) {
  ebb::keep_freed_memory();
  return ebb::fusefs::run(std::vector<std::string>(argv, argv + argc), std::cout, std::cerr);
}
