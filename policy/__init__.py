"""What a stack must not do: rules for Pulumi programs and for the live account alike."""
