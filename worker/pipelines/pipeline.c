#include "pipelines/pipeline.h"

const struct pipeline_ops *pipeline_ops_of(enum pipeline_type type)
{
    switch (type) {
    case PIPELINE_ECHO:
        return &pipeline_echo;
    case PIPELINE_OPENAI:
        return &pipeline_openai;
    }
    brg_broken(__FILE__, __LINE__, "pipeline type");
}
