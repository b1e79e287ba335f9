-- Model aliases of teams, in LiteLLM's table; `model_id` of a team's row refers to it.
CREATE TABLE IF NOT EXISTS "LiteLLM_ModelTable" (
    id serial,
    aliases jsonb,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    created_by text NOT NULL,
    updated_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_by text NOT NULL,
    PRIMARY KEY (id)
);
