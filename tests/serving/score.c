/* Loads a SavedModel as a C++ server does, without Python, feeds raw strings and prints scores.

   score TEXT_OPS SAVED_MODEL FEATURES REGIONS WIDTH INPUTS(3) OUTPUTS(2) [COUNT CAPTION]...
   FEATURES is a file of float32; inputs are region_features, captions, num_regions; outputs score, status.
   Where the first COUNT is -, num_regions is not fed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

static TF_Status* status;

static void check(const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: code %d, %s\n", what, TF_GetCode(status), TF_Message(status));
  exit(3);
}

static TF_Output find(TF_Graph* graph, const char* name) {
  char operation[256];
  int index = 0;
  if (sscanf(name, "%255[^:]:%d", operation, &index) < 1) exit(2);
  TF_Output found = {TF_GraphOperationByName(graph, operation), index};
  if (!found.oper) {
    fprintf(stderr, "the graph has no %s\n", name);
    exit(2);
  }
  return found;
}

int main(int argc, char** argv) {
  if (argc < 13) return 2;
  status = TF_NewStatus();
  TF_LoadLibrary(argv[1], status);
  check("TF_LoadLibrary");

  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[2], tags, 1, graph, NULL, status);
  check("TF_LoadSessionFromSavedModel");

  const int rows = (argc - 11) / 2;
  const int64_t shape[] = {rows, atoi(argv[4]), atoi(argv[5])};
  const size_t bytes = sizeof(float) * shape[0] * shape[1] * shape[2];
  TF_Tensor* values[] = {
      TF_AllocateTensor(TF_FLOAT, shape, 3, bytes),
      TF_AllocateTensor(TF_STRING, shape, 1, sizeof(TF_TString) * rows),
      TF_AllocateTensor(TF_INT32, shape, 1, sizeof(int32_t) * rows),
  };
  FILE* file = fopen(argv[3], "rb");
  if (!file || fread(TF_TensorData(values[0]), 1, bytes, file) != bytes) return 2;
  TF_TString* captions = TF_TensorData(values[1]);
  for (int row = 0; row < rows; ++row) {
    ((int32_t*)TF_TensorData(values[2]))[row] = atoi(argv[11 + 2 * row]);
    TF_StringInit(&captions[row]);
    TF_StringCopy(&captions[row], argv[12 + 2 * row], strlen(argv[12 + 2 * row]));
  }

  TF_Output inputs[3], outputs[2];
  for (int i = 0; i < 3; ++i) inputs[i] = find(graph, argv[6 + i]);
  for (int i = 0; i < 2; ++i) outputs[i] = find(graph, argv[9 + i]);
  TF_Tensor* answers[2];
  const int fed = rows && strcmp(argv[11], "-") == 0 ? 2 : 3;
  TF_SessionRun(session, NULL, inputs, values, fed, outputs, answers, 2, NULL, 0, NULL, status);
  check("TF_SessionRun");
  for (int row = 0; row < rows; ++row)
    printf("%.9g %d\n", ((float*)TF_TensorData(answers[0]))[row],
           ((int32_t*)TF_TensorData(answers[1]))[row]);
  return 0;
}
